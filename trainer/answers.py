"""Reasoning and reply in a model's words."""

from __future__ import annotations

from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Answer:
    """What has been written so far."""

    reasoning: str
    reply: str
    thinking: bool
    """The reasoning is not finished."""


def parted(text: str) -> Answer:
    """Reasoning and reply of a model's words.

    >>> parted("<think>\\nTired, not ill.\\n</think>\\n\\nSince when?")
    Answer(reasoning='Tired, not ill.', reply='Since when?', thinking=False)
    """
    opened = text.lstrip().startswith(OPEN)
    inside = text.lstrip().removeprefix(OPEN)
    reasoning, closed, reply = inside.partition(CLOSE)
    if closed:
        return Answer(reasoning.strip(), reply.strip(), False)
    if opened or OPEN.startswith(text.strip()):
        return Answer(inside.strip() if opened else "", "", True)
    return Answer("", text.strip(), False)
