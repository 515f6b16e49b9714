"""`psyllm intake` as a user runs it, and `grow` on what it wrote or on a source itself."""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path

import pytest

from psyllm.runs import Run
from tests.app.conftest import Desk
from tests.conftest import PSYLLM, clean_environment

PLAIN = "I have not slept properly since the spring and by day I am no use to anybody at the bakery."
OTHER = "My sister Aoife stopped calling in June and I keep walking past her street on the way home. u/jo_92"
ROWS = [
    {"id": "a", "selftext": PLAIN, "title": "awake", "subreddit": "sleep", "author": "night_owl"},
    {"id": "b", "selftext": "[removed]", "title": "gone", "subreddit": "sleep"},
    {"id": "c", "selftext": f"{PLAIN} Again.", "title": "awake", "subreddit": "sleep"},
    {"id": "d", "selftext": OTHER, "title": "her", "subreddit": "sleep"},
    {"id": "e", "selftext": f"I'm 15. {OTHER} My mum does not know any of it.", "title": "x", "subreddit": "sleep"},
]


def rows_of(desk: Desk, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (desk.folder / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def dump(desk: Desk) -> str:
    return desk.write("dump.jsonl", "\n".join(map(json.dumps, ROWS)))


def step(printed: str, name: str) -> str:
    return next(line for line in printed.splitlines() if line.startswith(name)).split()[-1]


def test_each_step_is_counted_and_the_file_holds_the_rest(desk: Desk, dump: str) -> None:
    done = desk.psyllm("intake", dump, "--out", "clean.jsonl")
    assert done.returncode == 0, done.stderr
    assert [step(done.stdout, name) for name in ("deleted", "of age", "duplicates", "kept")] == ["1", "1", "1", "2"]
    assert "licence unknown" in done.stdout
    first, second = rows_of(desk, "clean.jsonl")
    assert (first["text"], first["license"], first["source"]) == (PLAIN, "unknown", "Reddit, r/sleep")
    assert "night_owl" not in json.dumps(first)
    assert "[NAME_1] stopped calling" in str(second["text"]) and str(second["text"]).endswith("[USER_1]")


def test_keep_all_screens_nothing_out_and_scrubs_everything(desk: Desk, dump: str) -> None:
    assert desk.psyllm("intake", dump, "--keep-all", "--out", "all.jsonl").returncode == 0
    kept = rows_of(desk, "all.jsonl")
    assert len(kept) == 5
    assert "Aoife" not in json.dumps(kept) and "jo_92" not in json.dumps(kept) and "I'm 15" not in json.dumps(kept)


def test_one_post_can_be_explained_step_by_step(desk: Desk, dump: str) -> None:
    done = desk.psyllm("intake", dump, "--explain", "c")
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stdout
    assert "% like reddit-" in done.stdout
    assert desk.psyllm("intake", dump, "--explain", "zzz").returncode == 2


def test_posts_of_runs_and_held_out_sets_are_left_out(desk: Desk, dump: str) -> None:
    own = {"id": "p", "text": PLAIN}
    desk.write("own.jsonl", json.dumps(own))
    assert desk.psyllm("grow", "own.jsonl", "--run", "run").returncode == 0
    done = desk.psyllm("intake", dump, "--against", "run", "--out", "new.jsonl")
    assert done.returncode == 0, done.stderr
    assert [row["title"] for row in rows_of(desk, "new.jsonl")] == ["her"]
    desk.write("test.jsonl", json.dumps({"text": OTHER}))
    done = desk.psyllm("intake", dump, "--against", "run", "--held-out", "test.jsonl", "--out", "none.jsonl")
    assert done.returncode == 2
    assert "nothing is left of 5 rows" in done.stderr
    assert not (desk.folder / "none.jsonl").exists()


def test_bad_input_is_told_with_its_line_and_can_be_skipped(desk: Desk) -> None:
    desk.write("bad.jsonl", "\n".join([json.dumps(ROWS[0]), "{oops", json.dumps(ROWS[3]), json.dumps(ROWS[3])]))
    done = desk.psyllm("intake", "bad.jsonl", "--out", "clean.jsonl")
    assert (done.returncode, "bad.jsonl:2" in done.stderr, "->" in done.stderr) == (2, True, True)
    assert [path.name for path in desk.folder.iterdir() if "clean.jsonl." in path.name] == []
    done = desk.psyllm("intake", "bad.jsonl", "--skip-invalid", "--out", "clean2.jsonl")
    assert done.returncode == 0, done.stderr
    assert step(done.stdout, "read") == "2"
    assert desk.psyllm("intake", "bad.jsonl", "--out", "clean2.jsonl").returncode == 2, "it exists"
    done = desk.psyllm("intake", "bad.jsonl", "--map", "text=body", "--out", "x.jsonl")
    assert "no column body" in done.stderr
    done = desk.psyllm("intake", "bad.jsonl", "--out", "none/x.jsonl")
    assert (done.returncode, "mkdir -p none" in done.stderr) == (2, True)


def test_a_post_of_5_mb_is_left_out_and_a_full_disk_leaves_nothing(desk: Desk) -> None:
    big = {"id": "big", "text": "I cannot sleep. " * 330_000}
    desk.write("big.jsonl", "\n".join(map(json.dumps, [big, *ROWS[3:4]])))
    done = desk.psyllm("intake", "big.jsonl", "--out", "clean.jsonl")
    assert done.returncode == 0, done.stderr
    assert step(done.stdout, "length") == "1"
    full = subprocess.run(
        [PSYLLM, "intake", "big.jsonl", "--keep-all", "--out", "full.jsonl"],
        cwd=desk.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
    )
    assert full.returncode == 1
    assert "cannot be written" in full.stderr
    assert not [path for path in desk.folder.iterdir() if "full" in path.name]


def test_grow_scrubs_and_screens_a_source_and_goes_on_with_what_the_run_holds(desk: Desk, dump: str) -> None:
    assert desk.psyllm("grow", dump, "--run", "run", "--limit", "1").returncode == 0
    done = desk.psyllm("grow", dump, "--run", "run")
    assert "5 of 5 posts done, 4 of them now" in " ".join(done.stderr.split())
    assert "night_owl" not in desk.dump()
    with Run(desk.folder / "run") as run:
        posts = {post.title: post for post in run.posts()}
        codes = {code for _, code, _, _ in run.reasons()}
    assert "Aoife" not in posts["her"].model_dump_json() and "[NAME_1]" in posts["her"].text
    assert {"post_by_minor", "post_deleted"} <= codes
    desk.write("dump.jsonl", json.dumps(ROWS[0] | {"selftext": f"{PLAIN} Changed."}))
    changed = desk.psyllm("grow", dump, "--run", "run")
    assert (changed.returncode, "differs from the one this run holds" in changed.stderr) == (2, True)


def test_what_is_asked_for_is_kept_raw_and_grown_whatever_intake_says(desk: Desk) -> None:
    desk.write("p.jsonl", json.dumps(ROWS[4]))
    desk.psyllm("grow", "p.jsonl", "--run", "run", "--keep-all", "--keep-raw")
    with Run(desk.folder / "run") as run:
        (post,) = run.posts()
        (dialogue,) = run.dialogues()
        asked = list(run.calls(dialogue.id))
    assert "Aoife" in str(post.metadata["raw"]) and "Aoife" not in post.text
    assert post.screened is not None and post.screened.code == "post_by_minor"
    assert asked and "Aoife" not in str(asked)


def test_the_examples_grow_with_the_words_of_real_clients(desk: Desk) -> None:
    source = Path(__file__).parents[2] / "examples" / "conversations.jsonl"
    done = desk.psyllm("grow", str(source), "--client-words", "real", "--run", "run")
    assert done.returncode == 0, done.stderr
    said = {}
    for line in source.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        said[row["id"]] = " ".join(m["content"] for m in row["messages"] if m["role"] == "client")
    with Run(desk.folder / "run") as run:
        dialogues = list(run.dialogues())
        roles = {call.role for dialogue in dialogues for call in run.calls(dialogue.id)}
    assert len(dialogues) >= 6
    assert "patient" not in roles
    for dialogue in dialogues:
        spoken = " ".join(turn.client_text for turn in dialogue.turns).replace("[NAME_1]", "Paul")
        assert said[dialogue.post_id].startswith(spoken), dialogue.post_id
