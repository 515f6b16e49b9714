"""What changed between two texts, word by word, for a template that escapes every piece.

changes("a calm sea", "a rough sea")  ->  Span("a "), Span("calm", "gone"), Span("rough", "new"), Span(" sea")
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from app.web.marks import Span

LONGEST = 300
"""Words of a side that are compared one by one; longer texts are compared line by line."""


def changes(before: str, after: str) -> tuple[Span, ...]:
    """Both texts as one: pieces that are kept, gone or new, in reading order."""
    a, b = _pieces(before), _pieces(after)
    if max(len(a), len(b)) > 2 * LONGEST:
        a, b = before.splitlines(keepends=True), after.splitlines(keepends=True)
    spans: list[Span] = []
    for what, first, last, start, end in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if what == "equal":
            spans.append(Span("".join(a[first:last])))
            continue
        spans += [Span("".join(a[first:last]), "gone")] if last > first else []
        spans += [Span("".join(b[start:end]), "new")] if end > start else []
    return tuple(spans)


def _pieces(text: str) -> list[str]:
    """Words and the spaces between them."""
    return re.findall(r"\s+|[^\s]+", text)
