"""Two dialogues side by side, aligned by step: prompt, words, verdicts, scores, cost.

for step in compare(a, calls_of_a, b, calls_of_b).steps: step.path, step.changes
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psyllm.records import Dialogue, Turn
from psyllm.runs.run import StoredCall
from psyllm.runs.steps import Totals, totals


@dataclass(frozen=True)
class Change:
    """One thing that is not alike; '' where a side lacks it."""

    what: str
    """status, reasons, prompt, model, messages, error; a field of the answer like words.text; verdict mdd dsm5tr."""
    a: str
    b: str


@dataclass(frozen=True)
class StepPair:
    """The same step of both."""

    path: str
    """round/node/attempt/correction; round/verdicts for what the engine says after a round; dialogue for the whole."""
    role: str
    a: StoredCall | None
    b: StoredCall | None
    shared: bool
    """Whether both have the very same call: a fork and its parent, before the fork."""
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Comparison:
    a: Dialogue
    b: Dialogue
    a_totals: Totals
    b_totals: Totals
    steps: tuple[StepPair, ...]

    @property
    def different(self) -> tuple[StepPair, ...]:
        return tuple(step for step in self.steps if step.changes)


def compare(a: Dialogue, a_calls: Sequence[StoredCall], b: Dialogue, b_calls: Sequence[StoredCall]) -> Comparison:
    """Calls that only one of them made stand where that one made them."""
    steps = [StepPair("dialogue", "", None, None, False, tuple(_dialogue_changes(a, b)))]
    ours, theirs = {c.path: c for c in a_calls}, {c.path: c for c in b_calls}
    paths = sorted({**ours, **theirs}, key=_place)
    turns = {turn.round: turn for turn in a.turns}, {turn.round: turn for turn in b.turns}
    for number in sorted({int(path.split("/")[0]) for path in paths}):
        for path in (path for path in paths if path.startswith(f"{number}/")):
            one, other = ours.get(path), theirs.get(path)
            shared = one is not None and other is not None and one.key == other.key
            role = "".join({call.role for call in (one, other) if call})
            changes = () if shared else tuple(_pairs(_facts(one), _facts(other)))
            steps.append(StepPair(path, role, one, other, shared, changes))
        verdicts = tuple(_pairs(_verdicts(turns[0].get(number)), _verdicts(turns[1].get(number))))
        steps.append(StepPair(f"{number}/verdicts", "engine", None, None, False, verdicts))
    return Comparison(a, b, totals(a_calls), totals(b_calls), tuple(steps))


_NODES = ("plan", "patient", "hear", "diagnose", "verify", "respond", "critique")
_PART = {"patient": 0, "hear": 0, "respond": 2, "critique": 2}


def _place(path: str) -> tuple[int, ...]:
    """The order in which the graph comes by: an attempt's critique before the next attempt."""
    number, node, attempt, correction = path.split("/")
    return int(number), _PART.get(node, 1), int(attempt), _NODES.index(node), int(correction)


def _dialogue_changes(a: Dialogue, b: Dialogue) -> Iterator[Change]:
    def facts(dialogue: Dialogue) -> dict[str, str]:
        return {
            "status": dialogue.status,
            "reasons": ", ".join(reason.code for reason in dialogue.reasons),
            "modality": dialogue.plan.modality.chosen if dialogue.plan else "",
            "rounds": str(len(dialogue.turns)),
            "ended by": dialogue.ended_by,
        }

    return _pairs(facts(a), facts(b))


def _facts(call: StoredCall | None) -> dict[str, str]:
    if call is None:
        return {}
    facts = {
        "prompt": ", ".join(call.prompts),
        "model": call.model,
        "messages": "\n\n".join(f"{role}:\n{text}" for role, text in call.messages),
        "reasoning": call.reasoning,
        "error": call.error,
    }
    answer = json.loads(call.parsed) if call.parsed else call.reply
    return facts | {f"words{name}": text for name, text in _fields(answer, "")}


def _fields(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _fields(inner, f"{name}.{key}")
    elif isinstance(value, list):
        yield name, "\n".join(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _verdicts(turn: Turn | None) -> dict[str, str]:
    if turn is None:
        return {}
    found = {f"verdict {f.disorder} {f.system}": f.verdict for f in turn.findings}
    risks = {f"risk {risk.domain}": str(risk.level) for risk in turn.risks if risk.level}
    return {**found, **risks, "mode": turn.mode}


def _pairs(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Change]:
    for what in {**a, **b}:
        if a.get(what, "") != b.get(what, ""):
            yield Change(what, a.get(what, ""), b.get(what, ""))
