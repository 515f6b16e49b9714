"""What changed between two versions of a text, for reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.changes import changes

TEXTS = st.lists(st.sampled_from(["the", "eggs", "leave", "it", "\n", "on my own"]), max_size=12).map(" ".join)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("a calm sea", "a rough sea", "a [-calm ][+rough ]sea"),
        ("It sounds hard.", "It sounds hard.", "It sounds hard."),
        ("", "new", "[+new]"),
        (
            "Who knows the way to it? Nobody.",
            "Leave me the eggs to cool! Nobody.",
            "[-Who knows the way to it? ][+Leave me the eggs to cool! ]Nobody.",
        ),
    ],
)
def test_changes_read_as_one_text(before: str, after: str, said: str) -> None:
    signs = {"gone": "[-{}]", "new": "[+{}]", "": "{}"}
    assert "".join(signs[span.kind].format(span.text) for span in changes(before, after)) == said


@given(TEXTS, TEXTS)
def test_both_texts_are_there_whole(before: str, after: str) -> None:
    spans = changes(before, after)
    assert "".join(span.text for span in spans if span.kind != "new") == before
    assert "".join(span.text for span in spans if span.kind != "gone") == after
