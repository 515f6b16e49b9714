"""What is sent to a model: messages made of parts, so that the journal stores each part's text once.

Message("user", ("<transcript>", "Client:\\n[s1] Hi.", "</transcript>\\n\\nAnswer now."))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psyllm.records import PromptRef, Role

CHARACTERS_PER_TOKEN = 3
"""How prompt tokens are estimated before a call: English takes four or more, so the estimate is on the safe side."""

MessageRole = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    role: MessageRole
    parts: tuple[str, ...]
    """Joined by blank lines when sent. What never changes comes first: servers cache prefixes."""

    @property
    def text(self) -> str:
        return "\n\n".join(self.parts)


def with_instruction(messages: tuple[Message, ...], instruction: str) -> tuple[Message, ...]:
    """The messages with an instruction at the end of the first one; unchanged if it is empty."""
    if not instruction:
        return messages
    first = messages[0]
    return (Message(first.role, (*first.parts, instruction)), *messages[1:])


@dataclass(frozen=True, slots=True)
class Prompt:
    """Everything that one call sends, and which prompt files it was rendered from."""

    role: Role
    messages: tuple[Message, ...]
    refs: tuple[PromptRef, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Where in which dialogue a call is made; part of the key under which its answer is reused."""

    dialogue_id: str
    post_id: str
    repeat: int
    round: int
    """1-based; 0 for the plan."""
    node: str
    """The graph node that calls: plan, patient, hear, diagnose (its second call is `verify`), respond, critique."""
    attempt: int
    """0-based: how often this turn was sent back before."""

    @property
    def path(self) -> str:
        return f"{self.round}/{self.node}/{self.attempt}"
