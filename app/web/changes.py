"""What changed between two texts, word by word, for a template that escapes every piece.

changes("a calm sea", "a rough sea")  ->  Span("a "), Span("calm ", "gone"), Span("rough ", "new"), Span("sea")
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from app.web.marks import Span

LONGEST = 600
"""Words of a side that are compared one by one; longer texts are compared line by line."""
ALIKE = 3
"""Words that must be alike in a row amid changes: a lone `the` in two different sentences is no word kept."""


def changes(before: str, after: str) -> tuple[Span, ...]:
    """Both texts as one: pieces that are kept, gone or new, in reading order."""
    a, b = _pieces(before), _pieces(after)
    if max(len(a), len(b)) > LONGEST:
        a, b = before.splitlines(keepends=True), after.splitlines(keepends=True)
    spans: list[Span] = []
    gone, new = "", ""
    for what, first, last, start, end in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        lone = what == "equal" and last - first < ALIKE and first > 0 and last < len(a)
        if what == "equal" and not lone:
            spans += [Span(gone, "gone"), Span(new, "new"), Span("".join(a[first:last]))]
            gone, new = "", ""
        else:
            gone, new = gone + "".join(a[first:last]), new + "".join(b[start:end])
    spans += [Span(gone, "gone"), Span(new, "new")]
    return tuple(span for span in spans if span.text)


def _pieces(text: str) -> list[str]:
    """Words, each with the space after it."""
    return re.findall(r"\S+\s*|\s+", text)
