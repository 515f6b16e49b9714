"""Looking for all patterns at once finds what looking for each of them finds."""

import re
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from clinical import Knowledge, cues, risk
from clinical.patterns import Patterns
from clinical.sentence import normal

KNOWN = Knowledge.load()
ALL = [
    *risk.patterns_of(KNOWN.risk_table.domains.values()),
    *cues.patterns_of(KNOWN.disorders.values(), KNOWN.factors.values()),
]
SENTENCES = [
    text
    for table in yaml.safe_load((Path(__file__).parent / "risk_sentences.yaml").read_text(encoding="utf-8")).values()
    for levels in table.values()
    for texts in levels.values()
    for text in texts
]


def test_what_is_found_at_once_is_what_is_found_one_by_one() -> None:
    assert len(SENTENCES) > 300 and len(ALL) > 600
    patterns = Patterns(ALL)
    for text in map(normal, SENTENCES):
        assert patterns.found(text) == {pattern for pattern in ALL if pattern.search(text)}, text


@given(
    st.lists(st.sampled_from(["my", "naïve", "mum", "café", "–", "💊", "ß", "a", "Ω", ".", "is", "drunk", "\u0301"]))
)
def test_words_of_any_alphabet_are_found(words: list[str]) -> None:
    text = normal(" ".join(words))
    some = [
        re.compile(p)
        for p in (r"\bmy (\w+ )?mum\b", r"\b(mum|a) \w+ is\b", r"\bis drunk\b", r"mum [^.]*is", r"\bcaf\w+")
    ]
    assert Patterns(some).found(text) == {pattern for pattern in some if pattern.search(text)}
