"""Words marked in a text: where a quote stands, and a text cut up for a template that escapes every piece.

spans("I went home.", [Mark(2, 6, "quote", "q-1-1", "s3")])  ->  Span("I "), Span("went", "quote", ...), Span(" home.")
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_QUOTE = re.compile(r'["“]([^"“”]{3,}?)["”]')
_ALIKE = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\u00a0": " ", "\n": " "})


@dataclass(frozen=True)
class Mark:
    """A stretch of a text that is shown marked."""

    start: int
    end: int
    kind: str
    """quote: words that somebody else's text has too; fault: what a critic points at."""
    id: str = ""
    """The anchor that it is."""
    to: str = ""
    """The anchor that it leads to."""


@dataclass(frozen=True)
class Span:
    """A piece of a text, marked or not."""

    text: str
    kind: str = ""
    id: str = ""
    to: str = ""


def spans(text: str, marks: Iterable[Mark]) -> tuple[Span, ...]:
    """The text in pieces; where marks overlap, the earlier one is kept."""
    pieces: list[Span] = []
    at = 0
    for mark in sorted(marks, key=lambda mark: (mark.start, -mark.end)):
        if mark.start >= at:
            pieces.append(Span(text[at : mark.start]))
            pieces.append(Span(text[mark.start : mark.end], mark.kind, mark.id, mark.to))
            at = mark.end
    pieces.append(Span(text[at:]))
    return tuple(piece for piece in pieces if piece.text)


def quotes(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, words) of everything in double quotes."""
    for found in _QUOTE.finditer(text):
        yield found.start(1), found.end(1), found[1]


def locate(words: str, texts: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    """Where words stand in texts that follow each other: (which text, start, end), several if they cross an end."""
    whole = " ".join(map(_folded, texts))
    sought = _folded(words).strip(" .,;:!?…")
    at = whole.find(sought) if sought else -1
    if at < 0:
        return ()
    places: list[tuple[int, int, int]] = []
    first = 0
    for n, text in enumerate(texts):
        start, end = max(at, first), min(at + len(sought), first + len(text))
        if start < end:
            places.append((n, start - first, end - first))
        first += len(text) + 1
    return tuple(places)


def _folded(text: str) -> str:
    """Alike for comparing, and as long as it was."""
    plain = text.translate(_ALIKE)
    lower = plain.lower()
    return lower if len(lower) == len(text) else plain
