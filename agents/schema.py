"""Bounded pieces that the roles' answer schemas share. Every string and list has a limit, so that a small
model cannot run on, and `max_tokens` can be set for the worst case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field

Short = Annotated[str, Field(max_length=80)]
Line = Annotated[str, Field(max_length=240)]


def _spoken(text: str) -> str:
    words = " ".join(text.split())
    if not words:
        raise ValueError("nothing is said")
    return words


Sentence = Annotated[str, Field(max_length=240), AfterValidator(_spoken)]
Passage = Annotated[str, Field(max_length=700)]


def one_of(values: Sequence[str]) -> Any:
    """A Literal type over values known only at run time: the enum of a schema."""
    return cast(Any, Literal)[tuple(values)]


def list_of(item: Any) -> Any:
    """A list type over an item type known only at run time."""
    return cast(Any, list)[item]
