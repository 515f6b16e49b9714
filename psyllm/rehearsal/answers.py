"""A request's answer: the role's rules, made to fit the schema, with a fault planted now and then."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psyllm.rehearsal.faults import malformed, plant
from psyllm.rehearsal.request import Asked, Json
from psyllm.rehearsal.roles_counsellor import chat
from psyllm.rehearsal.roles_critic import client_critique, evidence_check, reply_critique
from psyllm.rehearsal.roles_diagnostician import diagnosis
from psyllm.rehearsal.roles_judge import preference, rating, silent
from psyllm.rehearsal.roles_patient import patient_turn
from psyllm.rehearsal.roles_planner import plan
from psyllm.rehearsal.roles_therapist import reply

ROLES: dict[str, Callable[[Asked], dict[str, Any]]] = {
    rule.__name__: rule
    for rule in (
        *(plan, patient_turn, diagnosis, reply, client_critique, evidence_check, reply_critique),
        *(rating, preference),
    )
}


JUDGED = ("rating", "preference")


@dataclass(frozen=True)
class Answer:
    text: str
    """What the assistant says: JSON where a schema was given."""
    reasoning: str
    """What goes on the reasoning channel; '' if nothing does."""
    planted: list[str]
    """Ids of the faults planted in it; for the log alone."""


def answer(body: Json, *, seed: int, fault_rate: float, native_trace: bool) -> Answer:
    """The answer to one chat request. A pure function: the same request gets the same answer."""
    asked = Asked(body, seed)
    if not asked.schema:
        return Answer(chat(asked) or "ready", "Nothing to decide." if native_trace else "", [])
    if asked.name in JUDGED and silent(asked):
        return Answer("I'm sorry, I cannot rate this conversation.", "", [])
    if asked.name not in ROLES:
        return Answer(json.dumps(asked.fit(None)), "", [])
    ruled = ROLES[asked.name](asked)
    full, planted = plant(asked, ruled | asked.fit(ruled), fault_rate)
    said = {name: full[name] for name in asked.node().get("properties", {})}
    reasoning = full.get("reasoning", "") if "reasoning" not in said else ""
    if native_trace and not reasoning:
        reasoning = "I go by what was said and by nothing else."
    text = malformed(asked, said) if planted == ["malformed_reply"] else json.dumps(said, ensure_ascii=False)
    return Answer(text, reasoning, planted)
