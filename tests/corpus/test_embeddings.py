"""Posts by meaning: the nearest of many, what a real model takes for the same, and what is said without one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from corpus.embeddings import PACKAGE, VectorFile
from psyllm.records import Reply, Sentence, Turn
from tests.conftest import Psyllm
from tests.corpus.conftest import Grown, dialogue

POST = (
    "I have worked at the same bakery for nine years and I used to like the quiet. Since the spring I wake at three and"
    " count the loaves that I have yet to bake, and by noon I could cry in front of everybody. My wife says I should"
    " take a week off, but the last time I did I only lay on the sofa and looked at the wall."
)
EDITED = " ".join(word for n, word in enumerate(POST.split(), 1) if n % 6)
OTHER = "My sister stopped calling in June and I keep walking past her street on the way home from work, hoping."
real_model = pytest.mark.skipif(
    not (find_spec("sentence_transformers") and find_spec(PACKAGE.replace("-", "_"))),
    reason="needs the extra embeddings",
)


def test_the_nearest_of_many_is_the_one_that_a_full_comparison_finds() -> None:
    rng = np.random.default_rng(0)
    many = rng.standard_normal((20_000, 8)).astype("float32")
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    asked = many[[3, 8191, 8192, 19_999]] + np.float32(0.001)
    with VectorFile() as kept:
        assert kept.nearest(asked)[1].tolist() == [-1] * 4
        for part in np.array_split(many, 7):
            kept.add(part)
        best, number = kept.nearest(asked)
    assert number.tolist() == (asked @ many.T).argmax(axis=1).tolist() == [3, 8191, 8192, 19_999]
    assert best == pytest.approx((asked @ many.T).max(axis=1))


@pytest.fixture
def posts(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, **texts: str) -> str:
        rows = (json.dumps({"id": post_id, "text": text}) for post_id, text in texts.items())
        (tmp_path / name).write_text("\n".join(rows), encoding="utf-8")
        return name

    return write


def test_without_the_extra_one_line_says_what_to_install(
    tmp_path: Path, posts: Callable[..., str], psyllm: Psyllm
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sentence_transformers.py").write_text("raise ImportError\n")
    command = ("intake", posts("posts.jsonl", a=POST), "--out", "out.jsonl", "--embeddings", PACKAGE)
    done = psyllm(*command, env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
    assert "pip install -c constraints.txt -e '.[embeddings]'" in done.stderr
    unused = psyllm("intake", "posts.jsonl", "--out", "out.jsonl", "--similar", "0.8")
    assert (unused.returncode, "add --embeddings MODEL" in unused.stderr) == (2, True)


@pytest.mark.slow
@real_model
def test_an_edited_post_is_left_out_by_meaning_and_its_neighbour_is_named(
    tmp_path: Path, posts: Callable[..., str], psyllm: Psyllm
) -> None:
    file = posts("posts.jsonl", first=POST, other=OTHER, edited=EDITED)
    (tmp_path / "psyllm.toml").write_text(f'[embeddings]\nmodel = "{PACKAGE}"\nsimilar = 0.8\n')
    kept = {}
    for name, options in {
        "words": ("--embeddings", "none"),
        "meaning": (),
        "strict": ("--similar", "0.99"),
    }.items():
        done = psyllm("intake", file, "--out", f"{name}.jsonl", *options)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("\n") == 1, "only what was written"
        lines = (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        kept[name] = [json.loads(line)["id"] for line in lines]
    assert kept["words"] == kept["strict"] == ["first", "other", "edited"]
    assert kept["meaning"] == ["first", "other"]
    told = psyllm("intake", file, "--explain", "edited").stdout
    assert re.search(r"duplicates +out +0\.[89]\d like first in meaning", told), told
    nothing = psyllm("intake", posts("short.jsonl", a="I am sad"), "--out", "short-out.jsonl")
    assert (nothing.returncode, "nothing is left of 1 rows" in nothing.stderr) == (2, True), nothing.stderr
    nearest = psyllm("intake", file, "--explain", "other").stdout
    assert re.search(r"duplicates +kept +0\.\d\d like first in meaning", nearest), nearest


@pytest.mark.slow
@real_model
def test_a_post_of_a_run_is_known_by_its_meaning(
    tmp_path: Path, posts: Callable[..., str], run_of: Grown, psyllm: Psyllm
) -> None:
    run_of([dialogue(1)], posts={"p1": POST})
    command = ("intake", posts("posts.jsonl", edited=EDITED, other=OTHER), "--out", "out.jsonl")
    done = psyllm(*command, "--against", "run", "--embeddings", PACKAGE, "--similar", "0.8")
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["id"] == "other"


@pytest.mark.slow
@real_model
def test_statistics_tell_replies_of_one_meaning_from_replies_of_many(run_of: Grown, psyllm: Psyllm) -> None:
    def talk(number: int, reply: str) -> Turn:
        client = (Sentence(n=1, text=f"{OTHER} {number}"),)
        return Turn(round=1, client=client, reply=Reply(reasoning="r", technique="x", text=reply))

    alike = ("That sounds very hard.", "This sounds really hard.", "How hard that sounds.")
    unlike = ("What did the bakery pay you?", "Who feeds the cat at night?", "Shall we look at your sleep?")
    run_of([dialogue(n, talk(n, text)) for n, text in enumerate(alike)], "alike")
    run_of([dialogue(n, talk(n, text)) for n, text in enumerate(unlike)], "unlike")
    done = psyllm("corpus", "stats", "alike", "unlike", "--embeddings", PACKAGE)
    assert done.returncode == 0, done.stderr
    for figure in ("spread of replies", "Vendi score of replies"):
        found = re.search(rf"^{figure} +(\S+) +(\S+)", done.stdout, re.MULTILINE)
        assert found and float(found[1]) < 0.8 * float(found[2]), done.stdout


@pytest.mark.slow
@real_model
@pytest.mark.parametrize("model", ["nobody/never", "./nothing"])
def test_a_model_that_is_not_there_is_told_in_one_line(posts: Callable[..., str], psyllm: Psyllm, model: str) -> None:
    command = ("intake", posts("posts.jsonl", a=POST), "--out", "out.jsonl", "--embeddings", model)
    done = psyllm(*command, env={"HF_HUB_OFFLINE": "1"})
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2), done.stderr
    assert model in done.stderr
