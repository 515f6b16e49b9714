"""Our own cases by code alone: gold answers met, gold never seen, and ten mutations noticed."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import clinical
from clinical import Knowledge, cases, durations, gates, sentence
from psyllm.errors import UsageError

SHIPPED = Path(clinical.__file__).parent
OWN = Path(__file__).parent / "cases.yaml"


def score(knowledge: Knowledge) -> cases.Score:
    rows, gold = cases.read(OWN)
    return cases.compare([cases.judge(knowledge, row) for row in rows], gold)


def test_every_verdict_code_redirect_and_gate_is_right(knowledge: Knowledge) -> None:
    found = score(knowledge)
    assert [line for line in found.lines if line.wrong] == []
    assert found.wrong_gates == []
    assert (str(found.verdicts), str(found.codes), str(found.gates)) == ("84/84", "83/83", "227/227")


def test_gold_labels_change_nothing_that_is_judged(knowledge: Knowledge, tmp_path: Path) -> None:
    table = yaml.safe_load(OWN.read_text())
    expected = [row["expected"] for row in table["cases"]]
    random.Random(7).shuffle(expected)
    for row, other in zip(table["cases"], expected, strict=True):
        row |= {"expected": other, "why": "met, of course", "title": "met"}
        for item in row["proposal"]["evidence"]:
            item["gate"] = "reject_past" if item["gate"] == "accept" else "accept"
    permuted = tmp_path / "permuted.yaml"
    permuted.write_text(yaml.safe_dump(table, sort_keys=False))
    (plain, _), (mixed, gold) = cases.read(OWN), cases.read(permuted)
    outcomes = [cases.judge(knowledge, row) for row in plain]
    assert [cases.judge(knowledge, row) for row in mixed] == outcomes
    assert not cases.compare(outcomes, gold).verdicts.all_right


def test_a_case_that_is_none_is_named(tmp_path: Path, knowledge: Knowledge) -> None:
    path = tmp_path / "cases.yaml"
    path.write_text("cases: [{id: X1, transcript: [], proposal: {evidence: [{c: A1, q: hm}]}}]")
    with pytest.raises(UsageError, match="X1"):
        cases.read(path)
    path.write_text("nothing: here")
    with pytest.raises(UsageError, match=re.escape(str(path))):
        cases.read(path)
    path.write_text("cases: [{id: X2, transcript: [{sp: P, t: Hm.}], proposal: {disorder: flu}}]")
    rows, _ = cases.read(path)
    with pytest.raises(UsageError, match="flu"):
        cases.judge(knowledge, rows[0])


@pytest.mark.parametrize(
    ("quote", "gate"),
    [
        ("I sleep", "accept"),
        ("I SLEEP  badly", "accept"),
        ("sleep badly. And", "accept"),
        ("I sleep ... tired", "reject_not_found"),
        ("I sle", "reject_not_found"),
        ("feel worthless", "reject_counsellor_turn"),
        ("", "reject_not_found"),
    ],
)
def test_quotes_are_whole_words_of_one_client_turn(knowledge: Knowledge, tmp_path: Path, quote: str, gate: str) -> None:
    path = tmp_path / "cases.yaml"
    spoken = [{"sp": "C", "t": "Do you feel worthless?"}, {"sp": "P", "t": "I sleep badly. And I'm tired."}]
    proposal = {"disorder": "mdd", "evidence": [{"c": "A4", "q": quote, "gate": gate}]}
    path.write_text(yaml.safe_dump({"cases": [{"id": "Q", "transcript": spoken, "proposal": proposal}]}))
    rows, gold = cases.read(path)
    assert cases.judge(knowledge, rows[0]).gates == gold[0].gates


# ---------------------------------------------------------------- mutations


def edited(name: str, old: str, new: str) -> Callable[[Path, Any], Knowledge]:
    def mutant(folder: Path, _: Any) -> Knowledge:
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return Knowledge.load(folder=folder)

    return mutant


def patched(module: Any, name: str, value: Any) -> Callable[[Path, Any], Knowledge]:
    def mutant(folder: Path, patch: pytest.MonkeyPatch) -> Knowledge:
        patch.setattr(module, name, value)
        return Knowledge.load(folder=folder)

    return mutant


NOTHING = re.compile(r"(?!)")
MUTANTS: dict[str, Callable[[Path, Any], Knowledge]] = {
    "five symptoms of depression become six": edited("criteria/mdd.yaml", "n: 5", "n: 6"),
    "two signs of drinking become seven": edited(
        "criteria/aud.yaml", 'at_least: {n: 2, of: ["A1..A11"]}', 'at_least: {n: 7, of: ["A1..A11"]}'
    ),
    "six months of grief become a year": edited(
        "criteria/prolonged_grief.yaml", "days_since_loss, ge: 180", "days_since_loss, ge: 365"
    ),
    "three months of insomnia become one": edited(
        "criteria/insomnia.yaml", "duration_days, ge: 90", "duration_days, ge: 30"
    ),
    "the way to complex trauma is closed": edited(
        "criteria/ptsd.yaml", "{all: [X1, X2, X3]}", "{fact: better_explained, is: true}"
    ),
    "moderate drinking is coded as mild": edited("criteria/aud.yaml", "severe: F10.20", "severe: F10.10"),
    "a later course needs no earlier one": edited(
        "criteria/mdd.yaml", "fact: prior_depressive_episodes, ge: 1", "fact: prior_depressive_episodes, ge: 9"
    ),
    "negators are not heard": patched(sentence, "_NEGATED", NOTHING),
    "somebody else counts as the client": patched(sentence, "_SOMEBODY", NOTHING),
    "what is past counts as now": patched(sentence, "_PAST", NOTHING),
    "what is feared counts as told": patched(sentence, "_FEARED", NOTHING),
    "a bare yes counts for anything": patched(gates, "_asked_plainly", lambda *_: True),
    "one span counts twice": patched(gates, "_used", lambda *_: None),
    "an event dates a syndrome": patched(durations, "_BEGAN", re.compile("")),
    "distress in general carries a symptom": patched(sentence, "_EMPTY_WORDS", NOTHING),
    "labels are symptoms": patched(sentence, "_FRAME", frozenset()),
}


@pytest.mark.parametrize("mutation", MUTANTS)
def test_a_broken_rule_gate_or_threshold_is_noticed(
    mutation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(SHIPPED, tmp_path / "clinical", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    found = score(MUTANTS[mutation](folder, monkeypatch))
    assert found.wrong_gates or any(line.wrong for line in found.lines)
