"""The quick look before a search misses nothing that the search would find, in any script."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.words import LISTS, any_of, listed

EXPRESSIONS = [(name, expression) for name, several in LISTS.items() for expression in several]


@settings(max_examples=400)
@given(st.data())
def test_what_an_expression_matches_is_found(data: st.DataObject) -> None:
    name, expression = data.draw(st.sampled_from(EXPRESSIONS))
    said = data.draw(st.from_regex(re.compile(expression, re.IGNORECASE), fullmatch=True))
    before, after = data.draw(st.sampled_from(["", "Zoë – ", "I "])), data.draw(st.sampled_from(["", " é", "."]))
    text = before + said + after
    for words in (any_of((expression,)), listed(name)):
        assert [match.span() for match in words.finditer(text)] == [m.span() for m in words.exact.finditer(text)]
        assert words.sub("_", text) == words.exact.sub("_", text)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (r"promise \w+", "do you promise Ångström"),
        (r"[\w']+ing", "größing"),
        (r"\d+ pills", "٣ pills"),
        (r"so\swell", "so\u2003well"),
    ],
)
def test_letters_digits_and_spaces_are_those_of_every_script(expression: str, text: str) -> None:
    words = any_of((expression,))
    assert words.search(text) and words.exact.search(text)
