"""What the screens of the seven domains besides suicide find in sentences of our own: recall first, then precision."""

from pathlib import Path

import pytest
import yaml

from clinical import Knowledge

SETS = yaml.safe_load((Path(__file__).parent / "risk_sentences.yaml").read_text(encoding="utf-8"))
DOMAINS = tuple(SETS["first"])


@pytest.mark.parametrize("domain", DOMAINS)
def test_hardly_a_danger_is_missed_and_few_are_imagined(knowledge: Knowledge, domain: str) -> None:
    rows = [
        (level, knowledge.screen.level(text, domain), text)
        for table in SETS.values()
        for level, texts in table[domain].items()
        for text in texts
    ]
    missed = [text for level, found, text in rows if found < level]
    imagined = [text for level, found, text in rows if found and not level]
    assert len(missed) <= 0.05 * sum(level > 0 for level, _, _ in rows), missed
    assert len(imagined) <= 0.1 * sum(found > 0 for _, found, _ in rows), imagined
    assert len(rows) >= 40 and sum(level == 0 for level, _, _ in rows) >= 15


def test_every_domain_but_suicide_is_measured(knowledge: Knowledge) -> None:
    assert {"suicide", *DOMAINS} == set(knowledge.risk_domains)
