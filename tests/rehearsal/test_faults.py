"""Planted faults: as often as asked, written to the log alone, and gone when the error is sent back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

import psyllm.rehearsal
from agents.critic import evidence_check_schema
from agents.diagnostician import diagnosis_schema
from agents.patient import PatientReply
from agents.therapist import reply_schema
from prompts.blocks import client_block, findings_block, items_block, raised_block, revise_block, risk_block
from psyllm.reasons import reason_codes
from psyllm.records import ClientProfile, Mode, Risk, RoundPlan, Withheld
from tests.rehearsal.conftest import POSTS, TECHNIQUES, Table, body_of, content

Seat = Callable[..., Table]
FAULTS: dict[str, dict[str, str]] = yaml.safe_load(
    (Path(psyllm.rehearsal.__file__).parent / "faults.yaml").read_text(encoding="utf-8")
)
SPOKEN = ("<transcript>", "Client:\n[s1] I was awake till four again.\n[s2] My boss saw it.", "</transcript>")


def answered(log: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["event"] == "out"]


def replies(table: Table, count: int, mode: Mode = "ordinary") -> list[str]:
    risk = risk_block([Risk(domain="suicide", level=3 if mode == "safety_first" else 0)], mode, (), ())
    ids = ("safety_protocol",) if mode == "safety_first" else TECHNIQUES["cbt"]
    schema = reply_schema(ids, native=False)
    bodies = [body_of(schema, *SPOKEN, findings_block([]), risk, seed=seed) for seed in range(count)]
    return [content(table.send(body)) for body in bodies]


def test_every_fault_names_a_reason_code() -> None:
    known = {code for codes in reason_codes().values() for code in codes}
    assert all(fault["code"] in known for fault in FAULTS.values())


def test_faults_come_at_the_rate_and_only_the_log_tells(seat: Seat, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    table = seat(fault_rate=0.25, log=log)
    replies(table, 400)
    planted = [entry["planted"] for entry in answered(log)]
    assert 70 <= sum(map(len, planted)) <= 130
    assert not any(name in json.dumps(answer) for _, answer in table.calls for names in planted for name in names)


def test_a_rate_of_nought_plants_nothing(seat: Seat, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    replies(seat(fault_rate=0, log=log), 60)
    assert all(entry["planted"] == [] for entry in answered(log))


def test_every_fault_of_the_list_is_planted_somewhere(seat: Seat, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    table = seat(fault_rate=1, log=log)
    for mode in ("ordinary", "safety_first"):
        replies(table, 80, mode)
    for seed in range(24):
        for ask in (
            lambda s: table.plan(" ".join(POSTS[:2]), s),
            lambda s: speak(table, s),
            lambda s: assess(table, s),
            lambda s: read_again(table, s),
        ):
            try:
                ask(seed)
            except ValidationError:
                continue
    seen = Counter(name for entry in answered(log) for name in entry["planted"])
    assert seen.keys() == FAULTS.keys()


def test_what_is_planted_shows_in_the_words(seat: Seat, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    texts = replies(seat(fault_rate=1, log=log), 120)
    shown = {entry["planted"][0]: text for entry, text in zip(answered(log), texts, strict=True)}
    assert "0800" in json.loads(shown["invented_contact"])["text"]
    assert json.loads(shown["stock_opening"])["text"].startswith("It sounds like")
    assert json.loads(shown["question_run"])["text"].count("?") >= 3
    assert "nobody in that house ever asked me" in json.loads(shown["invented_quote"])["reasoning"]
    assert "Major depressive disorder" in json.loads(shown["label_in_reply"])["text"]
    assert json.loads(shown["locked_technique"])["technique"] not in TECHNIQUES["cbt"]


def test_malformed_replies_are_cut_off_or_lack_a_field(seat: Seat, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    texts = replies(seat(fault_rate=1, log=log), 160)
    kinds: Counter[bool | str] = Counter()
    for entry, text in zip(answered(log), texts, strict=True):
        if entry["planted"] == ["malformed_reply"]:
            try:
                kinds["text" in json.loads(text)] += 1
            except json.JSONDecodeError:
                kinds["cut"] += 1
    assert kinds.keys() == {False, "cut"}


def test_an_early_disclosure_says_a_withheld_thing_before_its_round(seat: Seat, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    table = seat(fault_rate=1, log=log)
    for seed in range(20):
        speak(table, seed, raw=True)
    early = [n for n, entry in enumerate(answered(log)) if entry["planted"] == ["early_disclosure"]]
    assert early and all(SECRET in content(table.calls[n][1]) for n in early)


@pytest.mark.parametrize("back", ["correction", "revise"])
def test_what_is_sent_back_comes_out_sound(seat: Seat, tmp_path: Path, back: str) -> None:
    log = tmp_path / "log.jsonl"
    table = seat(fault_rate=1, log=log)
    schema = reply_schema(TECHNIQUES["cbt"], native=False)
    for seed in range(30):
        parts = (*SPOKEN, findings_block([]), risk_block([], "ordinary", (), ()))
        if back == "revise":
            body = body_of(schema, *parts, revise_block("It sounds hard.", "Open differently."), seed=seed)
        else:
            body = body_of(schema, *parts, seed=seed)
            wrong = content(table.send(body))
            body["messages"] += [{"role": "assistant", "content": wrong}, {"role": "user", "content": "text: missing"}]
        schema.model_validate_json(content(table.send(body)))
        assert answered(log)[-1]["planted"] == []


SECRET = "I keep the letter from the clinic under the carpet."


def speak(table: Table, seed: int, *, raw: bool = False) -> None:
    profile = ClientProfile(
        history="I am thirty.",
        memories=("I cried over a mug.",),
        core_beliefs=("I take up room.",),
        automatic_thoughts=("Useless.",),
        coping=("jokes",),
        disclosure="in bits",
        resistance="silence",
        builds_trust="patience",
        safety="I'm not in danger.",
        withheld=(Withheld(from_round=3, what=SECRET),),
    )
    block = client_block(profile, (RoundPlan(focus="the pile on the chair"),))
    if raw:
        table.send(body_of(PatientReply, block, seed=seed))
    else:
        table.ask(PatientReply, block, seed=seed)


DANGER = [(Risk(domain="suicide", level=2, sentences=(2,), mode="explore"), "active thoughts")]


def read_again(table: Table, seed: int) -> None:
    items = items_block(["s1 asserts mdd.A4: sleep"])
    table.ask(evidence_check_schema(1, ("suicide",)), *SPOKEN, items, raised_block(DANGER), seed=seed)


def assess(table: Table, seed: int) -> None:
    table.ask(diagnosis_schema(table.knowledge, ("mdd", "gad")), *SPOKEN, seed=seed)
