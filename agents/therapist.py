"""The therapist reasons and replies in one modality, from the spoken words and the engine's verdicts alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, Field, create_model

from agents.cast import Cast
from agents.safety import LONGEST_SENTENCE, MOST_WORDS
from agents.schema import one_of
from prompts.blocks import TRANSCRIPT_END, findings_block, revise_block, risk_block, transcript
from prompts.library import Modality
from psyllm.messages import Message, Prompt, Step
from psyllm.records import SAFETY_MODES, SAFETY_PROTOCOL, Mode, Reply, ReplyDraft, Turn

Reasoning = Annotated[str, Field(min_length=1, max_length=2600)]
Spoken = Annotated[str, Field(min_length=1, max_length=1200)]


class NativeReply(BaseModel):
    """The answer of a model whose reasoning comes on its own channel."""

    technique: str
    text: Spoken


class WrittenReply(BaseModel):
    """The answer with a written trace, which comes first: the model reasons before it replies."""

    reasoning: Reasoning
    technique: str
    text: Spoken


def allowed_techniques(cast: Cast, modality: Modality, mode: Mode) -> tuple[str, ...]:
    """Techniques that the mode leaves open; in safety_first and emergency only the safety protocol."""
    if mode in SAFETY_MODES:
        return (SAFETY_PROTOCOL,)
    locked = cast.knowledge.locked_classes(mode)
    return tuple(t.id for t in modality.matter.techniques if t.klass not in locked) or (SAFETY_PROTOCOL,)


@lru_cache(maxsize=256)
def reply_schema(techniques: tuple[str, ...], *, native: bool) -> type[NativeReply] | type[WrittenReply]:
    """The answer's schema, with the techniques that are open in this turn."""
    technique = (one_of(techniques), ...)
    if native:
        return create_model("reply", __base__=NativeReply, technique=technique)
    return create_model("reply", __base__=WrittenReply, technique=technique)


async def respond(
    cast: Cast, step: Step, modality: Modality, turns: Sequence[Turn], drafts: Sequence[ReplyDraft]
) -> Reply:
    """One call: reasoning, technique and reply to the last turn, or a better version of the last draft."""
    role = cast.library.roles["therapist"]
    now = turns[-1]
    native = cast.asker.native("therapist")
    techniques = allowed_techniques(cast, modality, now.mode)
    must, must_not = cast.knowledge.protocol(now.risks)
    task = role.render(
        "task",
        round=step.round,
        mode=now.mode,
        techniques=techniques,
        most_words=MOST_WORDS[now.mode],
        longest_sentence=LONGEST_SENTENCE if now.mode in SAFETY_MODES else 0,
    )
    parts = [
        *transcript(turns, numbered=True),
        TRANSCRIPT_END,
        findings_block(now.findings),
        risk_block(now.risks, now.mode, must, must_not),
        task,
    ]
    if drafts:
        last = drafts[-1]
        draft = f"<thoughts>\n{last.reply.reasoning}\n</thoughts>\n\n{last.reply.text}"
        parts += [revise_block(draft, last.critique.guidance), role.render("revise")]
    system = role.render("system", modality=modality.matter, approach=modality.render("therapist"))
    prompt = Prompt(
        role="therapist",
        messages=(Message("system", (system,)), Message("user", tuple(parts))),
        refs=(role.ref, modality.ref),
    )
    answer, channel = await cast.asker.ask(step, prompt, reply_schema(techniques, native=native))
    return Reply(
        reasoning=answer.reasoning if isinstance(answer, WrittenReply) else channel,
        technique=answer.technique,
        text=answer.text,
        trace="native" if native else "written",
    )
