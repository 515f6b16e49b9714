"""Sentences of our own against the gates: what carries a criterion or grounds a fact, and what only seems to."""

from pathlib import Path

import pytest
import yaml

from clinical import Knowledge
from psyllm.records import Evidence, Fact, Sentence, Turn

ROWS = yaml.safe_load((Path(__file__).parent / "sentences.yaml").read_text(encoding="utf-8"))


def refused(knowledge: Knowledge, sentence: str, claim: Evidence | Fact) -> str:
    """The gate that stops a claim on the only sentence; empty when it passes."""
    _, _, dropped = knowledge.gate([claim], [Turn(round=1, client=(Sentence(n=1, text=sentence),))])
    return dropped[0].gate if dropped else ""


@pytest.mark.parametrize(("criterion", "gate", "sentence"), ROWS["evidence"])
def test_a_sentence_that_is_claimed_for_a_criterion(
    knowledge: Knowledge, criterion: str, gate: str, sentence: str
) -> None:
    disorder, _, name = criterion.partition(".")
    assert refused(knowledge, sentence, Evidence(disorder=disorder, criterion=name, sentence=1)) == gate


@pytest.mark.parametrize(("disorder", "name", "value", "grounded", "sentence"), ROWS["facts"])
def test_a_sentence_that_is_claimed_for_a_fact(
    knowledge: Knowledge, disorder: str, name: str, value: bool | float, grounded: bool, sentence: str
) -> None:
    said = value if isinstance(value, bool) else float(value)
    claim = Fact(name=name, value=said, sentence=1, disorders=(disorder,))
    assert (refused(knowledge, sentence, claim) == "") is grounded
