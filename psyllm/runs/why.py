"""Why a dialogue ended as it did: the verdict, the evidence, the step and role to blame, one command to go on with.

why = explain(run.dialogue("3f2a"), calls)
why.blames[0].step, why.blames[0].quotes, why.next_command("runs/demo")
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from psyllm.reasons import meaning
from psyllm.records import Critique, Decision, Dialogue, Reason, Status, Turn
from psyllm.runs.run import StoredCall

_SPEAKS = {"planner": "plan", "patient": "patient", "diagnostician": "diagnose", "therapist": "respond"}
"""The node in which a role that can be blamed speaks."""
_JUDGES = {"patient": "hear", "therapist": "critique", "diagnostician": "critique"}


@dataclass(frozen=True)
class Blame:
    """One reason, with where to look."""

    code: str
    meaning: str
    """What the code means, in one line."""
    role: str
    round: int
    """1-based; 0 for the plan or the whole dialogue."""
    detail: str
    """The offending words, or what was expected."""
    words: str
    """What the blamed role said there; empty if nothing of it is left."""
    step: int | None
    """The blamed call's position; None where no call is to blame."""
    judged_at: int | None
    """Position of the critic's call that decided; None if code did."""


@dataclass(frozen=True)
class Why:
    """The end of one dialogue, explained."""

    dialogue_id: str
    status: Status
    verdict: str
    """One sentence."""
    blames: tuple[Blame, ...]
    guidance: str
    """What the last critique asked to be changed."""
    repairs: int
    """Turns sent back before the end."""
    action: tuple[str, ...]
    """The suggested command without the run: `RUN` stands for its folder."""

    def next_command(self, run: Path | str) -> str:
        """The suggested command, ready for a shell."""
        return shlex.join(str(run) if word == "RUN" else word for word in self.action)


def explain(dialogue: Dialogue, calls: Sequence[StoredCall]) -> Why:
    """`calls` are the dialogue's own, in the order made."""
    blames = tuple(_blame(dialogue, calls, reason) for reason in dialogue.reasons)
    critique = _last_critique(dialogue)
    return Why(
        dialogue_id=dialogue.id,
        status=dialogue.status,
        verdict=_verdict(dialogue, critique),
        blames=blames,
        guidance=critique.guidance if critique and critique.decision is not Decision.ACCEPT else "",
        repairs=sum(len(turn.client_drafts) + len(turn.drafts) for turn in dialogue.turns),
        action=_action(dialogue, blames, calls),
    )


def _blame(dialogue: Dialogue, calls: Sequence[StoredCall], reason: Reason) -> Blame:
    number = reason.round or (len(dialogue.turns) if reason.role in ("patient", "therapist", "diagnostician") else 0)
    judge = _JUDGES.get(reason.role, "")
    critique = _critique_of(dialogue, reason.role, number)
    judged = _last(calls, number, judge) if critique is None or critique.by == "model" else None
    step = _last(calls, number, _SPEAKS.get(reason.role, ""))
    if reason.role == "run" and calls and dialogue.status is not Status.SCREENED_OUT:
        step = calls[-1].position
    return Blame(
        code=reason.code,
        meaning=meaning(reason.code),
        role=reason.role,
        round=reason.round,
        detail=reason.detail,
        words=_words(dialogue, reason.role, number),
        step=step,
        judged_at=judged,
    )


def _last(calls: Sequence[StoredCall], number: int, node: str) -> int | None:
    positions = [call.position for call in calls if call.round == number and call.node == node]
    return positions[-1] if positions else None


def _turn(dialogue: Dialogue, number: int) -> Turn | None:
    return next((turn for turn in dialogue.turns if turn.round == number), None)


def _critique_of(dialogue: Dialogue, role: str, number: int) -> Critique | None:
    turn = _turn(dialogue, number)
    return None if turn is None else turn.client_critique if role == "patient" else turn.critique


def _words(dialogue: Dialogue, role: str, number: int) -> str:
    turn = _turn(dialogue, number)
    if role == "planner" and dialogue.plan:
        return dialogue.plan.presenting_problem
    if turn is None:
        return ""
    if role == "patient":
        return turn.client_text
    return turn.reply.text if role == "therapist" and turn.reply else ""


def _last_critique(dialogue: Dialogue) -> Critique | None:
    if not dialogue.turns:
        return None
    return dialogue.turns[-1].critique or dialogue.turns[-1].client_critique


def _verdict(dialogue: Dialogue, critique: Critique | None) -> str:
    match dialogue.status:
        case Status.ACCEPTED:
            return f"accepted after {len(dialogue.turns)} rounds: every turn passed its critique"
        case Status.SCREENED_OUT:
            return "screened out: the post was not taken on"
        case Status.IN_REVIEW:
            return f"waits for a reviewer after {len(dialogue.turns)} rounds: every turn passed its critique"
        case Status.EVALUATED:
            who = dialogue.provenance.models["therapist"]
            return f"a talk of an evaluation, counsellor {who}: kept to be read, never part of a corpus"
        case Status.FAILED:
            return "failed: the machinery broke, not the dialogue; the same command tries it again"
    if critique is None or critique.decision is Decision.ACCEPT:
        where = "as a whole" if dialogue.turns else "before the first turn"
        return f"rejected {where}"
    number = dialogue.turns[-1].round
    drafts = dialogue.turns[-1].drafts if critique.target == "therapist" else dialogue.turns[-1].client_drafts
    by = {"code": "code", "model": "the critic", "person": "a reviewer"}[critique.by]
    again = f", after it was sent back {len(drafts)} times" if drafts else ""
    return f"rejected by {by} in round {number}: the {critique.target}'s turn{again}"


def _action(dialogue: Dialogue, blames: Sequence[Blame], calls: Sequence[StoredCall]) -> tuple[str, ...]:
    short = dialogue.id[:8]
    if dialogue.status is Status.FAILED and any(blame.code == "endpoint_failed" for blame in blames):
        return ("psyllm", "doctor")
    blamed = next((blame for blame in blames if blame.step is not None), None)
    if blamed is None or blamed.step is None or dialogue.status in (Status.ACCEPTED, Status.IN_REVIEW):
        return ("psyllm", "trace", "show", "RUN", short)
    file = _prompt_file(calls, blamed.step)
    if blamed.role == "run" or not file:
        return ("psyllm", "trace", "show", "RUN", short, "--step", str(blamed.step))
    return ("psyllm", "trace", "fork", "RUN", short, "--step", str(blamed.step), "--prompt", file)


def _prompt_file(calls: Sequence[StoredCall], position: int) -> str:
    """The prompt to edit: the modality's where one was used, else the role's."""
    call = next(call for call in calls if call.position == position)
    ids = [re.split("[@#]", prompt)[0] for prompt in call.prompts]
    modality = next((name for name in ids if name != call.role), "")
    return f"prompts/modalities/{modality}.md" if modality else f"prompts/roles/{call.role}.md"
