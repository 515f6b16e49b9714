"""Turns, replies and what the checks say of them, for the tests of this folder."""

from __future__ import annotations

from typing import Any

import pytest

from agents.checks import check_reply
from clinical import Knowledge
from prompts.library import Library, Modality
from psyllm.reasons import codes_for
from psyllm.records import Finding, Mode, Reason, Reply, Risk, Sentence, System, Turn, Verdict

SYSTEMS: tuple[System, ...] = ("dsm5tr", "icd11")


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.load()


@pytest.fixture(scope="module")
def cbt() -> Modality:
    return Library().modality("cbt")


def codes(reasons: tuple[Reason, ...]) -> list[str]:
    assert all(reason.code in codes_for(reason.role) for reason in reasons)
    return [reason.code for reason in reasons]


def turn(*sentences: str, n: int = 1, **fields: Any) -> Turn:
    client = tuple(Sentence(n=10 * n + i, text=text) for i, text in enumerate(sentences))
    return Turn(round=n, client=client, **fields)


def replied(text: str, *sentences: str, n: int = 1, **fields: Any) -> Turn:
    return turn(*(sentences or ("I said something.",)), n=n, reply=answer(text=text), **fields)


def answer(**fields: str) -> Reply:
    sound = {
        "reasoning": "Her alarm is the centre of it. Insufficient in DSM-5-TR and in ICD-11, one of five.",
        "technique": "guided_discovery",
        "text": "Four alarms and none of them heard. What was the room like when you did wake?",
    }
    return Reply.model_validate(sound | fields)


def finding(disorder: str, verdict: Verdict, system: System = "dsm5tr") -> Finding:
    return Finding(disorder=disorder, name=disorder, system=system, verdict=verdict, why="")


def suicidal(level: int, mode: Mode) -> dict[str, Any]:
    return {"mode": mode, "risks": (Risk(domain="suicide", level=level, mode=mode),)}


def judged(knowledge: Knowledge, modality: Modality, heard: Turn, **fields: str) -> tuple[Reason, ...]:
    return check_reply(knowledge, modality, [replied("Start anywhere you like.", n=1), heard], answer(**fields))
