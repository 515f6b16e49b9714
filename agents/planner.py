"""The planner reads the post, as quoted data, and makes a case. No other role ever sees the post."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Self

from pydantic import BaseModel, Field, create_model, model_validator

from agents.cast import Cast
from agents.schema import Line, Passage, Short, list_of, one_of
from prompts.blocks import post_block
from prompts.library import Modality
from psyllm.messages import Message, Prompt, Step
from psyllm.records import (
    CasePlan,
    ClientProfile,
    Emotion,
    ModalityChoice,
    Post,
    RejectedModality,
    RoundPlan,
    Scene,
    Severity,
)


class WithheldReply(BaseModel):
    from_round: int = Field(ge=1, le=8)
    what: Line


class ProfileReply(BaseModel):
    history: Passage
    memories: list[Line] = Field(min_length=2, max_length=5)
    core_beliefs: list[Line] = Field(min_length=1, max_length=3)
    automatic_thoughts: list[Line] = Field(min_length=1, max_length=4)
    coping: list[Line] = Field(min_length=1, max_length=4)
    disclosure: Line
    resistance: Line
    builds_trust: Line
    safety: Line
    withheld: list[WithheldReply] = Field(max_length=3)


class EmotionReply(BaseModel):
    primary: Short
    secondary: list[Short] = Field(max_length=3)
    intensity: int = Field(ge=0, le=10)


class SceneReply(BaseModel):
    category: str = Field(max_length=40, pattern=r"^[a-z][a-z0-9_]*$")
    detail: Line


class RejectedReply(BaseModel):
    id: str
    why: Line


class PlanReply(BaseModel):
    """What the planner answers. Raises nothing by itself: an unsuitable post is said in the answer."""

    suitable: bool
    unsuitable_because: Line
    emotion: EmotionReply
    presenting_problem: Line
    scene: SceneReply
    severity: Severity
    rounds: list[Line] = Field(min_length=1, max_length=8)
    against_first: Line
    """What in the post speaks against the first candidate; empty where it is chosen."""
    chosen: str
    reasons: list[Line] = Field(min_length=1, max_length=3)
    rejected: list[RejectedReply] = Field(max_length=3)
    profile: ProfileReply
    first: ClassVar[str] = ""
    """The first candidate."""

    @model_validator(mode="after")
    def _first_unless_refused(self) -> Self:
        if self.first not in ("", self.chosen) and not self.against_first.strip():
            raise ValueError(f"choose the first candidate, {self.first}, or say in `against_first` why not")
        return self


@lru_cache(maxsize=128)
def plan_schema(ids: frozenset[str], first: str, min_rounds: int, max_rounds: int) -> type[PlanReply]:
    """The answer's schema for these modality ids and round bounds.

    It does not show their order, so that few schemas serve a run: servers keep the grammar of each.
    """
    choice = one_of(sorted(ids))
    rejected = create_model("Rejected", __base__=RejectedReply, id=(choice, ...))
    schema = create_model(
        "plan",
        __base__=PlanReply,
        rounds=(list[Line], Field(min_length=min_rounds, max_length=max_rounds)),
        chosen=(choice, ...),
        rejected=(list_of(rejected), Field(min_length=min(1, len(ids) - 1), max_length=min(3, len(ids) - 1))),
    )
    schema.first = first
    return schema


async def plan(cast: Cast, step: Step, post: Post, candidates: Sequence[Modality]) -> PlanReply:
    """One call. `candidates` come in the order in which this post should consider them."""
    role = cast.library.roles["planner"]
    rules = cast.rules
    ids = tuple(modality.matter.id for modality in candidates)
    task = role.render(
        "task",
        candidates=ids,
        min_rounds=rules.min_rounds,
        max_rounds=rules.max_rounds,
    )
    offered = "\n".join(map(_offer, sorted(cast.library.modalities.values(), key=lambda m: m.matter.id)))
    prompt = Prompt(
        role="planner",
        messages=(
            Message("system", (role.render("system", modalities=offered),)),
            Message("user", (post_block(post), task)),
        ),
        refs=(role.ref,),
    )
    schema = plan_schema(frozenset(ids), ids[0], rules.min_rounds, rules.max_rounds)
    answer, _ = await cast.asker.ask(step, prompt, schema)
    return answer


def case_plan(answer: PlanReply) -> CasePlan:
    """The planner's answer as a record; a first candidate that was passed over leads those rejected."""
    profile = answer.profile
    passed = {answer.first: answer.against_first} if answer.first not in ("", answer.chosen) else {}
    rejected = passed | {c.id: c.why for c in answer.rejected if c.id not in (answer.chosen, *passed)}
    return CasePlan(
        emotion=Emotion.model_validate(answer.emotion.model_dump()),
        presenting_problem=answer.presenting_problem,
        scene=Scene.model_validate(answer.scene.model_dump()),
        severity=answer.severity,
        rounds=tuple(RoundPlan(focus=focus) for focus in answer.rounds),
        modality=ModalityChoice(
            chosen=answer.chosen,
            drawn=answer.first,
            reasons=tuple(answer.reasons),
            rejected=tuple(RejectedModality(id=name, why=why) for name, why in rejected.items()),
        ),
        profile=ClientProfile.model_validate(profile.model_dump()),
    )


def _offer(modality: Modality) -> str:
    matter = modality.matter
    return f"- {matter.id}: {matter.name}. {matter.summary} {modality.render('planner')}"
