"""The critic reads after the checks in code: the client's turn, the evidence drawn from it, the therapist's turn.

Only the critique of the client sees the hidden profile, and its words go back to the patient alone. The second
reading of the evidence sees spoken words and the items, no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, Field, create_model

from agents.cast import Cast
from agents.schema import Line, Passage, list_of, one_of
from clinical import Knowledge
from prompts.blocks import (
    TRANSCRIPT_END,
    client_block,
    findings_block,
    items_block,
    raised_block,
    risk_block,
    transcript,
)
from prompts.library import Modality
from psyllm.messages import Message, Prompt, Step
from psyllm.reasons import codes_for
from psyllm.records import CasePlan, Critique, Decision, Evidence, Fact, Misjudged, Reason, Reply, Risk, Turn

Score = Annotated[int, Field(ge=1, le=5)]


class ReasonReply(BaseModel):
    code: str
    quote: Line


class CritiqueReply(BaseModel):
    reasons: list[ReasonReply] = Field(max_length=4)
    decision: Literal["accept", "revise", "reject"]
    guidance: Passage


class Scores(BaseModel):
    """The rubric of a therapist turn."""

    think_completeness: Score
    coherence: Score
    think_reply_match: Score
    clinical_grounding: Score
    modality_fidelity: Score
    safety: Score


class ReplyCritiqueReply(CritiqueReply):
    scores: Scores
    markers: list[str] = Field(max_length=8)
    anti: list[str] = Field(max_length=6)


class ItemVerdict(BaseModel):
    item: int = Field(ge=1, le=20)
    why: Line
    holds: bool


class LoweredReply(BaseModel):
    domain: str
    sentence: int = Field(ge=1, le=500)
    kind: Misjudged
    quote: Line
    """The client's words that show it."""


class EvidenceCheckReply(BaseModel):
    verdicts: list[ItemVerdict]
    lowered: list[LoweredReply]


@cache
def client_critique_schema() -> type[CritiqueReply]:
    reason = create_model("ClientReason", __base__=ReasonReply, code=(one_of(codes_for("patient")), ...))
    return create_model("client_critique", __base__=CritiqueReply, reasons=(list_of(reason), Field(max_length=4)))


@lru_cache(maxsize=256)
def evidence_check_schema(items: int, raised: tuple[str, ...]) -> type[EvidenceCheckReply]:
    """The answer's schema for so many items and these raised domains."""
    lowered = create_model("Lowered", __base__=LoweredReply, domain=(one_of(raised or ("none",)), ...))
    return create_model(
        "evidence_check",
        __base__=EvidenceCheckReply,
        verdicts=(list[ItemVerdict], Field(min_length=items, max_length=items)),
        lowered=(list_of(lowered), Field(max_length=4 if raised else 0)),
    )


@lru_cache(maxsize=256)
def reply_critique_schema(fidelity: tuple[str, ...], anti: tuple[str, ...]) -> type[ReplyCritiqueReply]:
    """The answer's schema for a modality with these marker ids."""
    reason = create_model("ReplyReason", __base__=ReasonReply, code=(one_of(codes_for("therapist")), ...))
    return create_model(
        "reply_critique",
        __base__=ReplyCritiqueReply,
        reasons=(list_of(reason), Field(max_length=4)),
        markers=(list_of(one_of(fidelity)), Field(max_length=12)),
        anti=(list_of(one_of(anti or ("none",))), Field(max_length=6)),
    )


async def judge_client(cast: Cast, step: Step, plan: CasePlan, turns: Sequence[Turn]) -> Critique:
    """One call on the last client turn, with the hidden profile at hand."""
    role = cast.library.roles["critic"]
    prompt = Prompt(
        role="critic",
        messages=(
            Message("system", (role.render("client system"),)),
            Message(
                "user",
                (
                    client_block(plan.profile, plan.rounds),
                    *transcript(turns, numbered=True),
                    TRANSCRIPT_END,
                    role.render("client task", round=step.round, rounds=len(plan.rounds)),
                ),
            ),
        ),
        refs=(role.ref,),
    )
    answer, _ = await cast.asker.ask(step, prompt, client_critique_schema())
    return Critique(
        target="patient",
        by="model",
        decision=Decision(answer.decision),
        reasons=_reasons(answer, Decision(answer.decision), "patient", step.round),
        guidance=answer.guidance,
    )


async def check_evidence(
    cast: Cast, step: Step, turns: Sequence[Turn], claims: Sequence[Evidence | Fact], raised: Sequence[Risk]
) -> EvidenceCheckReply:
    """One call on all that the gates let pass in the last turn, and on the dangers that rose in it."""
    role = cast.library.roles["critic"]
    items = [f"s{claim.sentence} {_claimed(cast.knowledge, claim)}" for claim in claims]
    ladders = cast.knowledge.risk_table.domains
    named = [(risk, ladders[risk.domain].levels[risk.level].name) for risk in raised]
    parts = [
        *transcript(turns, numbered=True),
        TRANSCRIPT_END,
        *([items_block(items)] if items else []),
        *([raised_block(named)] if named else []),
        role.render("evidence task", round=step.round, items=len(items), raised=bool(raised)),
    ]
    prompt = Prompt(
        role="critic",
        messages=(Message("system", (role.render("evidence system"),)), Message("user", tuple(parts))),
        refs=(role.ref,),
    )
    schema = evidence_check_schema(len(items), tuple(risk.domain for risk in raised))
    answer, _ = await cast.asker.ask(step, prompt, schema)
    return answer


def _claimed(knowledge: Knowledge, claim: Evidence | Fact) -> str:
    if isinstance(claim, Evidence):
        listed = knowledge.disorders[claim.disorder].criteria
        words = next(criterion.t for criterion in listed if criterion.id == claim.criterion)
        return f"{claim.polarity} {claim.disorder}.{claim.criterion}: {words}"
    spec = knowledge.facts[claim.name]
    value = ("yes" if claim.value else "no") if isinstance(claim.value, bool) else f"{claim.value:g} {spec.unit or ''}"
    scopes = " and ".join(knowledge.disorders[name].scope for name in claim.disorders) or "the person"
    return f"tells {claim.name} = {value.strip()}, of {scopes}: {spec.meaning}"


async def judge_reply(cast: Cast, step: Step, modality: Modality, turns: Sequence[Turn], reply: Reply) -> Critique:
    """One call on the draft reply to the last turn. A score of 1 or 2 is never accepted as it stands."""
    role = cast.library.roles["critic"]
    now = turns[-1]
    must, must_not = cast.knowledge.protocol(now.risks)
    draft = (
        f"<reasoning>\n{reply.reasoning}\n</reasoning>\n\n"
        f"<technique>\n{reply.technique}{_meant(modality, reply.technique)}\n</technique>\n\n"
        f"<reply>\n{reply.text}\n</reply>"
    )
    system = role.render("reply system", modality=modality.matter, approach=modality.render("critic"))
    prompt = Prompt(
        role="critic",
        messages=(
            Message("system", (system,)),
            Message(
                "user",
                (
                    *transcript(turns, numbered=True),
                    TRANSCRIPT_END,
                    findings_block(now.findings),
                    risk_block(now.risks, now.mode, must, must_not),
                    draft,
                    role.render("reply task", round=step.round, mode=now.mode),
                ),
            ),
        ),
        refs=(role.ref, modality.ref),
    )
    fidelity = tuple(marker.id for marker in modality.matter.fidelity)
    anti = tuple(marker.id for marker in modality.matter.anti)
    answer, _ = await cast.asker.ask(step, prompt, reply_critique_schema(fidelity, anti))
    scores = answer.scores.model_dump()
    decision = Decision(answer.decision)
    if decision is Decision.ACCEPT and min(scores.values()) <= 2:
        decision = Decision.REVISE
    return Critique(
        target="therapist",
        by="model",
        decision=decision,
        scores=scores,
        markers=tuple(answer.markers),
        anti=tuple(marker for marker in answer.anti if marker in anti),
        reasons=_reasons(answer, decision, "therapist", step.round),
        guidance=answer.guidance,
    )


def _meant(modality: Modality, technique: str) -> str:
    known = modality.techniques.get(technique)
    return f": {known.line}" if known else ""


def _reasons(
    answer: CritiqueReply, decision: Decision, role: Literal["patient", "therapist"], number: int
) -> tuple[Reason, ...]:
    """The named reasons; a turn is never sent back or rejected without one."""
    named = tuple(Reason(code=r.code, role=role, round=number, detail=r.quote) for r in answer.reasons)
    if named or decision is Decision.ACCEPT:
        return named
    return (Reason(code="unexplained", role=role, round=number, detail=answer.guidance[:200]),)
