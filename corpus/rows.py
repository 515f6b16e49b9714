"""Dialogues as rows, one builder a format; pure functions, dialogue in, rows out.

A model is trained on what it is served with: the system message prompts/roles/counsellor.md and spoken words only.
`inference_messages` is the one place that says so. Never plan, verdicts, criteria or critique.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any, get_args

from prompts.library import PromptFile
from psyllm.records import CRISIS_CONTACTS, Dialogue, Mode, Reply, Turn

Message = dict[str, str]
Row = dict[str, Any]

MODES: tuple[Mode, ...] = get_args(Mode)
"""Response modes, the least urgent first."""


def inference_messages(counsellor: PromptFile, spoken: Sequence[str]) -> list[Message]:
    """What a counselling model is sent for its next reply: the system prompt, then the words, the client's first.

    `spoken` alternates client and counsellor and ends with the client; earlier replies come without their reasoning.
    """
    system = {"role": "system", "content": counsellor.render("system")}
    roles = cycle(("user", "assistant"))
    return [system, *({"role": role, "content": words} for role, words in zip(roles, spoken, strict=False))]


def mode_of(dialogue: Dialogue) -> Mode:
    """The most urgent response mode of any turn."""
    return max((turn.mode for turn in dialogue.turns), key=MODES.index, default="ordinary")


def risk_level(turns: Sequence[Turn]) -> int:
    """The highest level of any risk domain, 0 for none."""
    return max((risk.level for turn in turns for risk in turn.risks), default=0)


def with_contacts(dialogue: Dialogue, contacts: str) -> Dialogue:
    """The dialogue with `{crisis_contacts}` filled in every reply, accepted or sent back."""

    def filled(reply: Reply) -> Reply:
        return reply.model_copy(update={"text": reply.text.replace(CRISIS_CONTACTS, contacts)})

    turns = tuple(
        turn.model_copy(
            update={
                "reply": turn.reply and filled(turn.reply),
                "drafts": tuple(draft.model_copy(update={"reply": filled(draft.reply)}) for draft in turn.drafts),
            }
        )
        for turn in dialogue.turns
    )
    return dialogue.model_copy(update={"turns": turns})


def chat_row(dialogue: Dialogue, counsellor: PromptFile) -> Row:
    """Format messages: the whole conversation in one row, each counsellor turn with its `reasoning_content`."""
    messages: list[Message] = [{"role": "system", "content": counsellor.render("system")}]
    for turn, reply in _answered(dialogue):
        messages += [{"role": "user", "content": turn.client_text}, _said(reply)]
    return {
        "id": dialogue.id,
        "post_id": dialogue.post_id,
        "messages": messages,
        **_about(dialogue, counsellor, dialogue.turns),
    }


def turn_rows(dialogue: Dialogue, counsellor: PromptFile) -> Iterator[Row]:
    """Format per-turn: a prompt and its completion for each reply; the prompt is what a server is sent."""
    for turn, reply, prompt in _prompted(dialogue, counsellor):
        yield {
            "id": f"{dialogue.id}/{turn.round}",
            "dialogue_id": dialogue.id,
            "post_id": dialogue.post_id,
            "round": turn.round,
            "prompt": prompt,
            "completion": [_said(reply)],
            **_about(dialogue, counsellor, (turn,)),
        }


def preference_rows(dialogue: Dialogue, counsellor: PromptFile) -> Iterator[Row]:
    """Format preference: a repaired reply over each one that was sent back, under the same prompt.

    The prompt is the counsellor's; the critic's guidance that led to the repair is not in it.
    """
    for turn, reply, prompt in _prompted(dialogue, counsellor):
        for number, draft in enumerate(turn.drafts, 1):
            if (draft.reply.reasoning, draft.reply.text) != (reply.reasoning, reply.text):
                yield {
                    "id": f"{dialogue.id}/{turn.round}/{number}",
                    "dialogue_id": dialogue.id,
                    "post_id": dialogue.post_id,
                    "round": turn.round,
                    "prompt": prompt,
                    "chosen": [_said(reply)],
                    "rejected": [_said(draft.reply)],
                    "reasons": [reason.code for reason in draft.critique.reasons],
                    **_about(dialogue, counsellor, (turn,)),
                }


def openr1_row(dialogue: Dialogue) -> Row:
    """Format openr1-psy: the fields of the published OpenR1-Psy rows, and no others."""
    return {
        "post_id": dialogue.post_id,
        "file": dialogue.provenance.source,
        "conversation": [
            {"patient": turn.client_text, "counselor_think": reply.reasoning, "counselor_content": reply.text}
            for turn, reply in _answered(dialogue)
        ],
    }


Builder = Callable[[Dialogue, PromptFile], Iterator[Row]]

BUILDERS: dict[str, Builder] = {
    "messages": lambda dialogue, counsellor: iter([chat_row(dialogue, counsellor)]),
    "per-turn": turn_rows,
    "openr1-psy": lambda dialogue, counsellor: iter([openr1_row(dialogue)]),
    "preference": preference_rows,
}
"""Kind of row -> its builder."""


def _answered(dialogue: Dialogue) -> Iterator[tuple[Turn, Reply]]:
    return ((turn, turn.reply) for turn in dialogue.turns if turn.reply is not None)


def _prompted(dialogue: Dialogue, counsellor: PromptFile) -> Iterator[tuple[Turn, Reply, list[Message]]]:
    """Each answered turn with its reply and what a server would be sent for it."""
    spoken: list[str] = []
    for turn, reply in _answered(dialogue):
        spoken.append(turn.client_text)
        yield turn, reply, inference_messages(counsellor, spoken)
        spoken.append(reply.text)


def _said(reply: Reply) -> Message:
    return {"role": "assistant", "reasoning_content": reply.reasoning, "content": reply.text}


def _about(dialogue: Dialogue, counsellor: PromptFile, turns: Sequence[Turn]) -> Row:
    """What describes a row: mode and risk level are those of the turns that it teaches."""
    plan, provenance = dialogue.plan, dialogue.provenance
    return {
        "modality": plan.modality.chosen if plan else "",
        "severity": plan.severity if plan else "",
        "mode": max((turn.mode for turn in turns), key=MODES.index, default="ordinary"),
        "risk_level": risk_level(turns),
        "system_prompt": f"{counsellor.ref.id}@{counsellor.ref.version}#{counsellor.ref.sha256}",
        "source": provenance.source,
        "license": provenance.license,
        "rehearsal": provenance.rehearsal,
    }
