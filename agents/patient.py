"""The patient speaks from the hidden profile and has read only the spoken words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from agents.cast import Cast
from agents.schema import Sentence
from prompts.blocks import TRANSCRIPT_END, client_block, revise_block, transcript
from psyllm.messages import Message, Prompt, Step
from psyllm.records import CasePlan, PatientDraft, Turn

LENGTHS = (
    "one line, under fifteen words",
    "two or three sentences",
    "two or three sentences",
    "four or five sentences",
    "as long as what breaks loose, up to eight sentences",
)
"""What a message wants to be: drawn for each, because models left to themselves write all of one length."""


class PatientReply(BaseModel):
    model_config = ConfigDict(title="patient_turn")

    sentences: list[Sentence] = Field(min_length=1, max_length=12)
    """In the order spoken, one sentence an entry."""
    ends: bool
    """True when the client ends the conversation with these words."""


async def speak(
    cast: Cast, step: Step, plan: CasePlan, turns: Sequence[Turn], drafts: Sequence[PatientDraft]
) -> PatientReply:
    """One call: the client's next turn, or a better version of the last draft."""
    role = cast.library.roles["patient"]
    task = role.render(
        "task",
        round=step.round,
        rounds=len(plan.rounds),
        may_end=step.round >= cast.rules.min_rounds,
        length=length_of(cast.rules.seed, step),
    )
    parts = [client_block(plan.profile, plan.rounds), *transcript(turns, numbered=False), TRANSCRIPT_END, task]
    if drafts:
        parts += [revise_block("\n".join(drafts[-1].sentences), drafts[-1].critique.guidance), role.render("revise")]
    prompt = Prompt(
        role="patient",
        messages=(Message("system", (role.render("system"),)), Message("user", tuple(parts))),
        refs=(role.ref,),
    )
    answer, _ = await cast.asker.ask(step, prompt, PatientReply)
    return answer


def length_of(seed: int, step: Step) -> str:
    """The length of this round's message, by seed, post and round alone; another one than that of the round before."""
    drawn = ""
    for round_ in range(1, step.round + 1):
        left = [length for length in LENGTHS if length != drawn]
        number = hashlib.sha256(f"{seed}/{step.post_id}/{step.repeat}/{round_}/length".encode()).digest()
        drawn = left[int.from_bytes(number[:4], "big") % len(left)]
    return drawn
