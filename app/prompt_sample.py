"""A conversation to show prompts over: the first worked dialogue of examples/, or a post as the client's words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clinical import Knowledge
from graphs.choice import as_turn
from psyllm.records import (
    CasePlan,
    ClientProfile,
    Emotion,
    Evidence,
    Fact,
    ModalityChoice,
    Post,
    Reply,
    RoundPlan,
    Scene,
    Sentence,
    Turn,
    Withheld,
)

WORKED = Path(__file__).parent.parent / "examples" / "worked_dialogues.yaml"


@dataclass(frozen=True)
class Sample:
    """A case at the point where every role has something to do."""

    post: Post
    plan: CasePlan
    turns: tuple[Turn, ...]
    """The last one is heard and judged by the engine, and not answered yet."""
    reply: Reply
    """A draft for the critic."""


def sample(knowledge: Knowledge, post: Post | None = None) -> Sample:
    """The worked dialogue in its second round; with a post, its first round with the post's words."""
    worked = yaml.safe_load(WORKED.read_text(encoding="utf-8"))["dialogues"][0]
    first, second = worked["rounds"][:2]
    answered = _turn(first, knowledge, ()).model_copy(update={"reply": _reply(first)})
    told = Post(id=worked["id"], title=worked["post"]["title"], text=worked["post"]["text"])
    if post is None:
        turns = (answered, _turn(second, knowledge, (answered,)))
        return Sample(told, _plan(worked["plan"]), turns, _reply(second))
    return Sample(
        post,
        _plan(worked["plan"]),
        (_judged(as_turn(post.model_copy(update={"title": ""})), knowledge, ()),),
        _reply(first),
    )


def _turn(data: dict[str, Any], knowledge: Knowledge, before: tuple[Turn, ...]) -> Turn:
    turn = Turn(
        round=data["n"],
        client=tuple(Sentence(n=_number(key), text=text) for key, text in data["patient"].items()),
        evidence=tuple(
            Evidence(disorder=e["disorder"], criterion=e["criterion"], sentence=_number(e["s"]), polarity=e["pol"])
            for e in data["diagnosis"]["evidence"]
        ),
        facts=tuple(
            Fact(name=f["fact"], value=f["value"], sentence=_number(f["s"]), disorders=tuple(f["for"]))
            for f in data["diagnosis"]["facts"]
        ),
    )
    return _judged(turn, knowledge, before)


def _judged(turn: Turn, knowledge: Knowledge, before: tuple[Turn, ...]) -> Turn:
    turns = (*before, turn)
    evidence = [item for each in turns for item in each.evidence]
    facts = [item for each in turns for item in each.facts]
    risks = knowledge.grade((), turns)
    update = {"findings": knowledge.assess(evidence, facts), "risks": risks, "mode": knowledge.mode(risks)}
    return turn.model_copy(update=update)


def _reply(data: dict[str, Any]) -> Reply:
    therapist = data["therapist"]
    return Reply(reasoning=therapist["think"], technique=therapist["technique"], text=therapist["reply"])


def _plan(data: dict[str, Any]) -> CasePlan:
    hidden = data["hidden_profile"]
    return CasePlan(
        emotion=Emotion(primary=data["emotion"]["primary"], secondary=data["emotion"]["secondary"], intensity=6),
        presenting_problem=data["presenting_problem"],
        scene=Scene.model_validate(data["scene"]),
        severity=data["severity"],
        rounds=tuple(RoundPlan(focus=each["focus"]) for each in data["rounds"]),
        modality=ModalityChoice(chosen=data["modality"]["chosen"], reasons=tuple(data["modality"]["reasons"])),
        profile=ClientProfile(
            history=hidden["history"],
            memories=("Mum on the phone on Sunday at half one, and the sigh.",),
            core_beliefs=tuple(hidden["core_beliefs"]),
            automatic_thoughts=tuple(hidden["automatic_thoughts"]),
            coping=tuple(hidden["coping"]),
            disclosure=hidden["disclosure"],
            resistance=hidden["resistance"],
            builds_trust=hidden["builds_trust"],
            safety="I don't think about dying.",
            withheld=tuple(Withheld(from_round=n, what=what) for n, what in hidden["will_not_say_before"].items()),
        ),
    )


def _number(name: str) -> int:
    return int(name.removeprefix("s"))
