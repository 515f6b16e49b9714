"""Markers that code counts: how well, on which replies, and what a mistake in their file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.markers import Counted
from bench import markers as bench
from clinical import Knowledge
from prompts.library import SHIPPED, Library
from psyllm.errors import UsageError

README = (SHIPPED / "README.md").read_text(encoding="utf-8")
COMPASSION_FOCUSED = README.partition("```markdown\n")[2].partition("```")[0]


@pytest.fixture(scope="module")
def counted() -> Counted:
    return Counted.of(Library(), Knowledge.load())


@pytest.mark.parametrize(
    ("part", "precision", "recall"),
    [("tuned", 1.0, 1.0), ("near_home", 1.0, 0.95), ("unseen", 0.97, 0.8), ("worked", 0.95, 0.9)],
)
def test_code_counts_markers_as_well_as_the_docs_say(
    counted: Counted, part: str, precision: float, recall: float
) -> None:
    cases = bench.parts(counted)[part]
    found = bench.tallies(counted, cases)
    assert found["all"].precision >= precision and found["all"].recall >= recall
    assert found["all"].right >= 20, "the sentences are there"


def test_every_marker_that_is_counted_has_sentences_that_show_it_and_near_misses(counted: Counted) -> None:
    labelled = [*bench.labelled("tuned"), *bench.labelled("near_home")]
    for name in counted.known:
        kinds = [case.shown for case in labelled if case.marker == name]
        assert sum(kinds) >= 2 and len(kinds) - sum(kinds) >= 2, name


def test_words_of_others_in_quotes_are_not_the_counsellors(counted: Counted) -> None:
    assert "CBTx1" in counted.shown("That is irrational. What happened on Tuesday?")
    assert "CBTx1" not in counted.shown('"That is irrational" stands on the note. Whose hand is it in?')


def test_a_school_is_counted_on_its_own_replies_or_where_nobody_named_one(counted: Counted) -> None:
    mi, shared = counted.known["MI4"], counted.known["F0b"]
    assert mi.counts_in("mi") and mi.counts_in("") and not mi.counts_in("cbt")
    assert shared.counts_in("cbt") and shared.counts_in("")


# ---------------------------------------------------------------- the file


def overlaid(folder: Path, rules: str) -> Library:
    (folder / "modalities").mkdir(exist_ok=True)
    (folder / "modalities" / "compassion_focused.md").write_text(COMPASSION_FOCUSED, encoding="utf-8")
    (folder / "markers.yaml").write_text(rules, encoding="utf-8")
    return Library(folder)


def test_a_modality_of_ones_own_brings_its_own_words(tmp_path: Path) -> None:
    library = overlaid(tmp_path, "CFTx1:\n  say: [you(?:'re| are) a good person]\n")
    found = Counted.of(library, Knowledge.load())
    assert "CFTx1" in found.shown("But you're a good person.")
    assert {"CFTx1", "F0b"} <= found.known.keys(), "it joins the shipped ones"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("CFTx1:\n  say: [a]\nCFTx9:\n  say: [a]\n", "markers.yaml:3: CFTx9: no prompt has this marker; did you mean"),
        ("CFTx1:\n  say: ['(a']\n", "markers.yaml:1: CFTx1: '(a' is no pattern"),
        ("CFTx1:\n  sya: [a]\n", "CFTx1.sya: Extra inputs are not permitted; did you mean say"),
        ("CFTx1: {lists: [sugestion]}\n", "no list 'sugestion'; did you mean suggestion"),
        ("CFTx1: {check: stock}\n", "no check of words is called 'stock'; known: label_in_reply"),
        ("CFTx1: {say: [a], questions: [1, 1]}\n", "counted in one way"),
        ("- CFTx1\n", "not a mapping"),
        ("CFTx1: [\n", "cannot be read"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path, rules: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        Counted.of(overlaid(tmp_path, rules), Knowledge.load())
    assert told in str(error.value)
