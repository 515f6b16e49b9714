"""The command: what it writes, what it leaves out and says of it, what it refuses; and --check."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from psyllm.labels import Label, Labels
from tests.conftest import PSYLLM, Psyllm
from tests.corpus.conftest import Grown, dialogue, said, turn

STOCK = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_a_hugging_face_folder_is_opened_by_datasets(
    tmp_path: Path, run_of: Grown, psyllm: Psyllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    talks = [dialogue(n, turn(n, draft="Try yoga." if n % 2 else ""), turn(n, 2)) for n in range(40)]
    talks.append(dialogue(40, turn(40, mode="safety_first")))
    run_of(talks)
    done = psyllm("export", "run", "--out", "hf", "--format", "hf", "--splits", "80/10/10")
    assert done.returncode == 0, done.stderr
    assert "41 messages rows (train 33, validation 4, test 4)" in done.stderr
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    cache = str(tmp_path / "cache")
    loaded = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=cache)
    assert {split: len(part) for split, part in loaded.items()} == {"train": 33, "validation": 4, "test": 4}
    assert {row["id"] for part in loaded.values() for row in part} == {talk.id for talk in talks}
    turns = datasets.load_dataset(str(tmp_path / "hf"), "per-turn", cache_dir=cache)
    assert sum(map(len, turns.values())) == 81
    first = next(row for row in turns["train"] if row["round"] == 2)
    assert first["completion"][0]["reasoning_content"] == f"thought {first['dialogue_id'][1:]}.2"
    pairs = datasets.load_dataset(str(tmp_path / "hf"), "preference", cache_dir=cache)
    assert sum(map(len, pairs.values())) == 20
    card = (tmp_path / "hf" / "README.md").read_text(encoding="utf-8")
    for words in ("diagnoses nobody", "no crisis service", "Nobody has checked these crisis contacts", "CC0-1.0"):
        assert words in card
    assert r"forum \| \<b\>x\</b\>" in card, "words of others are no markup"
    assert r"| safety\_first |" in card
    assert "Rehearsal" not in card
    told = manifest(tmp_path / "hf" / "manifest.json")
    for file in told["files"]:
        assert hashlib.sha256((tmp_path / "hf" / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    checked = psyllm("export", "--check", "hf")
    assert (checked.returncode, "no problem found" in checked.stderr) == (0, True)


def test_a_folder_exported_anew_is_loaded_anew(
    tmp_path: Path, run_of: Grown, psyllm: Psyllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` would give what it once read from another folder of the same name and layout."""
    run_of([dialogue(n) for n in range(3)])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    found = []
    for rejected in ("d0", "d1"):
        shutil.rmtree(tmp_path / "hf", ignore_errors=True)
        Labels(tmp_path / "run").add(Label(dialogue_id=rejected, verdict="reject"))
        done = psyllm("export", "run", "--out", "hf", "--format", "hf", "--splits", "1")
        assert done.returncode == 0, done.stderr
        loaded = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "cache"))
        found.append(sorted(loaded["train"]["id"]))
    assert found == [["d1", "d2"], ["d2"]]


def test_a_manifest_beside_another_file_is_not_written_over(tmp_path: Path, run_of: Grown, psyllm: Psyllm) -> None:
    run_of([dialogue(1)])
    assert psyllm("export", "run", "--out", "corpus.jsonl").returncode == 0
    before = (tmp_path / "corpus.manifest.json").read_bytes()
    done = psyllm("export", "run", "--out", "corpus.parquet", "--format", "parquet")
    assert (done.returncode, "corpus.manifest.json exists" in done.stderr) == (2, True)
    assert (tmp_path / "corpus.manifest.json").read_bytes() == before
    assert not (tmp_path / "corpus.parquet").exists()


@pytest.mark.parametrize("kind", ["messages", "per-turn", "preference"])
def test_every_row_is_traced_back_by_its_id(tmp_path: Path, run_of: Grown, psyllm: Psyllm, kind: str) -> None:
    run_of([dialogue(n, turn(n, draft="Try yoga.")) for n in (1, 11)])
    assert psyllm("export", "run", "--out", "rows.jsonl", "--format", kind).returncode == 0
    for row in rows(tmp_path / "rows.jsonl"):
        done = psyllm("trace", "show", "run", row["id"])
        assert done.returncode == 0, done.stderr
        assert row["post_id"] in done.stdout


def test_what_is_left_out_is_counted_by_code_and_listed(tmp_path: Path, run_of: Grown, psyllm: Psyllm) -> None:
    shared = " ".join(f"word{n}" for n in range(20))
    run = run_of(
        [
            dialogue(1),
            dialogue(2, modality="act"),
            dialogue(3, model="other"),
            dialogue(4, turn(4, score=2)),
            dialogue(5),
            dialogue(6),
            dialogue(7, turn(1), post="p7"),
            dialogue(8, forked_from="d1"),
        ],
        posts={"p6": f"Before. {shared} After."},
    )
    Labels(run).add(Label(dialogue_id="d5", verdict="reject", reviewer="AB"))
    (tmp_path / "test.jsonl").write_text(json.dumps({"nested": [{"text": f"x {shared.upper()} y"}]}) + "\n")
    done = psyllm(
        *("export", "run", "--out", "out.jsonl", "--modality", "cbt", "--model", "big", "--min-score", "3"),
        *("--decontaminate", "test.jsonl"),
    )
    assert done.returncode == 0, done.stderr
    told = manifest(tmp_path / "out.manifest.json")
    codes = {entry["id"]: entry["code"] for entry in told["excluded"]}
    (twin,) = {"d1", "d7"} & codes.keys()
    assert codes == {
        "d2": "modality_unwanted",
        "d3": "model_unwanted",
        "d4": "score_too_low",
        "d5": "rejected_by_person",
        "d6": "held_out",
        "d8": "forked",
        twin: "duplicate_case",
    }
    assert told["left_out"] == Counter(codes.values())
    (row,) = rows(tmp_path / "out.jsonl")
    assert {row["id"]} == {"d1", "d7"} - {twin}
    for code in codes.values():
        assert code in done.stderr
    kept = psyllm("export", "run", "--out", "all.jsonl", "--no-limits", "--label", "reject")
    assert kept.returncode == 0, kept.stderr
    assert [row["id"] for row in rows(tmp_path / "all.jsonl")] == ["d5"]


def test_balance_keeps_the_shares_that_the_run_was_grown_for(tmp_path: Path, run_of: Grown, psyllm: Psyllm) -> None:
    run_of([dialogue(n, modality="act" if n < 3 else "cbt") for n in range(10)])
    done = psyllm("export", "run", "--out", "x.jsonl", "--balance")
    assert done.returncode == 0, done.stderr
    assert Counter(row["modality"] for row in rows(tmp_path / "x.jsonl")) == {"act": 3, "cbt": 3}
    assert manifest(tmp_path / "x.manifest.json")["left_out"] == {"over_share": 4}


def test_a_fork_goes_out_once_a_person_accepted_it(tmp_path: Path, run_of: Grown, psyllm: Psyllm) -> None:
    run = run_of([dialogue(1), dialogue(2, forked_from="d1")])
    for verdict, expected in (("flag", ["d1"]), ("accept", ["d1", "d2"])):
        Labels(run).add(Label.model_validate({"dialogue_id": "d2", "verdict": verdict}))
        done = psyllm("export", "run", "--out", f"{verdict}.jsonl")
        assert done.returncode == 0, done.stderr
        assert [row["id"] for row in rows(tmp_path / f"{verdict}.jsonl")] == expected


def test_two_runs_make_one_dataset_and_the_same_dialogue_is_written_once(
    tmp_path: Path, run_of: Grown, psyllm: Psyllm
) -> None:
    run_of([dialogue(1), dialogue(2)], "one")
    run_of([dialogue(2), dialogue(3)], "two")
    done = psyllm("export", "one", "two", "--out", "both.parquet", "--format", "parquet")
    assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "both.parquet")
    assert list(zip(table["id"].to_pylist(), table["run"].to_pylist(), strict=True)) == [
        ("d1", "one"),
        ("d2", "one"),
        ("d3", "two"),
    ]
    assert manifest(tmp_path / "both.manifest.json")["left_out"] == {"same_dialogue": 1}


def test_splits_of_lines_are_one_file_each_and_the_same_each_time(
    tmp_path: Path, run_of: Grown, psyllm: Psyllm
) -> None:
    run_of([dialogue(n) for n in range(20)])
    for out in ("a", "b"):
        done = psyllm("export", "run", "--out", out, "--format", "openr1-psy", "--splits", "3/1", "--seed", "5")
        assert done.returncode == 0, done.stderr
    assert [len(rows(tmp_path / "a" / f"{split}.jsonl")) for split in ("train", "validation")] == [15, 5]
    for split in ("train", "validation"):
        assert (tmp_path / "a" / f"{split}.jsonl").read_bytes() == (tmp_path / "b" / f"{split}.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "--out is missing"),
        (("--out", "x.jsonl"), "RUN is missing"),
        (("run", "--out", "taken"), "taken exists"),
        (("run", "--out", "no/x.jsonl"), "folder no does not exist"),
        (("run", "--out", "x.jsonl", "--modality", "act"), "nothing is left to export: modality_unwanted 1"),
        (("run", "--out", "x.jsonl", "--format", "preference"), "there are no pairs"),
        (("run", "--out", "x.jsonl", "--decontaminate", "none.jsonl"), "none.jsonl does not exist"),
        (("run", "made_up", "--out", "x.jsonl", "--balance"), "was made by the rehearsal backend"),
        (("made_up", "--out", "x.jsonl"), "was made by the rehearsal backend"),
    ],
)
def test_wrong_requests_are_refused_and_leave_nothing_behind(
    tmp_path: Path, run_of: Grown, psyllm: Psyllm, arguments: tuple[str, ...], words: str
) -> None:
    run_of([dialogue(1)])
    run_of([dialogue(1, rehearsal=True)], "made_up")
    (tmp_path / "taken").mkdir()
    before = sorted(tmp_path.iterdir())
    done = psyllm("export", *arguments)
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.split())
    assert sorted(tmp_path.iterdir()) == before


def test_a_chat_template_that_drops_the_reasoning_stops_the_export(
    tmp_path: Path, run_of: Grown, psyllm: Psyllm
) -> None:
    run_of([dialogue(1)])
    (tmp_path / "stock.jinja").write_text(STOCK)
    done = psyllm("export", "run", "--out", "x.jsonl", "--format", "per-turn", "--chat-template", "stock.jinja")
    assert (done.returncode, "row d1/1" in done.stderr) == (1, True), done.stderr
    assert not [path for path in tmp_path.iterdir() if "x.jsonl" in path.name]


@pytest.mark.parametrize("format_", ["messages", "hf"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, run_of: Grown, format_: str) -> None:
    run_of([dialogue(n, *(turn(n, round_) for round_ in range(1, 5))) for n in range(100)])
    command = f"ulimit -f 40; exec {PSYLLM} export run --out out --format {format_}"
    done = subprocess.run(["/bin/bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "cannot write out: File too large" in done.stderr) == (1, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_check_names_what_is_wrong_and_where(tmp_path: Path, run_of: Grown, psyllm: Psyllm) -> None:
    run_of([dialogue(n, turn(n, draft="No.")) for n in range(4)])
    assert psyllm("export", "run", "--out", "good", "--splits", "1/1").returncode == 0
    refused = psyllm("export", "run", "--out", "one.jsonl", "--splits", "1/1")
    assert (refused.returncode, "-> --out one\n" in refused.stderr) == (2, True), refused.stderr
    assert psyllm("export", "--check", "good").returncode == 0
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    train = tmp_path / "bad" / "train.jsonl"
    first, second = rows(train)
    first["messages"][-1]["reasoning_content"] = " "
    second["post_id"] = rows(tmp_path / "bad" / "validation.jsonl")[0]["post_id"]
    train.write_text("".join(json.dumps(row) + "\n" for row in (first, second, second, {"text": "x"})))
    done = psyllm("export", "--check", "bad")
    shown = " ".join(done.stderr.split())
    assert done.returncode == 1
    for words in (
        "bad/train.jsonl:1: messages[2] lacks reasoning_content",
        f"bad/train.jsonl:3: id '{second['id']}' was used before, at bad/train.jsonl:2",
        "bad/train.jsonl:4: no known shape; fields: text",
        f"post '{second['post_id']}' is in train and validation",
        "train.jsonl: is not the file that the manifest names",
    ):
        assert words in shown


def test_published_rows_are_checked_too(tmp_path: Path, psyllm: Psyllm) -> None:
    good = {"patient": "I am tired.", "counselor_think": "Tired.", "counselor_content": "Since when?"}
    bad = {"post_id": "2", "file": "LRF", "conversation": [good | {"counselor_think": ""}]}
    lines = [{"post_id": "1", "file": "LRF", "conversation": [good]}, bad]
    (tmp_path / "psy.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = psyllm("export", "--check", "psy.jsonl")
    assert done.returncode == 1
    assert "psy.jsonl: 2 openr1-psy rows" in done.stderr
    assert "psy.jsonl:2: conversation[0].counselor_think is empty" in done.stderr
    assert "psy.jsonl:1" not in done.stderr


def test_words_of_a_number_are_its_own() -> None:
    assert not set(said(1).split()) & set(said(2).split())
