"""Which dialogues go out, into which split, and that neither depends on the order of posts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from corpus.candidates import Candidate, Selection
from corpus.duplicates import groups
from corpus.selection import balance, drop_near_duplicates, drop_stock_openings
from corpus.splits import assign, parse
from psyllm.errors import UsageError
from psyllm.records import Mode
from tests.corpus.conftest import said


def made(number: int, mode: Mode = "ordinary", modality: str = "cbt", openings: tuple[str, ...] = ()) -> Candidate:
    return Candidate(
        run=0,
        id=f"d{number}",
        post_id=f"p{number}",
        mode=mode,
        modality=modality,
        severity="mild",
        risk_level=0,
        openings=openings or (f"opening {number} a", f"opening {number} b"),
        post_group=number,
        text_group=number,
    )


def ids(selection: Selection) -> set[str]:
    return {candidate.id for candidate in selection.kept}


def splits_of(candidates: list[Candidate], shares: str, seed: int) -> list[str]:
    with Selection(seed, candidates) as selection:
        assign(selection, parse(shares))
        found = [selection.chosen(0, candidate.id) for candidate in candidates]
    return [split for _, split in filter(None, found)]


def test_texts_that_differ_by_a_word_are_one_group_and_others_are_not() -> None:
    long = [said(n, 60) for n in range(8)]
    near = [" ".join(["other", *text.split()[1:]]) for text in long]
    assert groups([*long, *near]) == [*range(8), *range(8)]
    assert groups([]) == []


def test_of_near_duplicates_one_stays_whatever_the_order_of_posts() -> None:
    candidates = [replace(made(n), text_group=n % 3) for n in range(9)]
    one, other = Selection(7, candidates), Selection(7, candidates[::-1])
    for selection in (one, other):
        drop_near_duplicates(selection)
    assert ids(one) == ids(other)
    assert len(one) == 3
    assert {exclusion.code for exclusion in one.excluded} == {"duplicate_case"}
    third = Selection(8, candidates)
    drop_near_duplicates(third)
    assert ids(third) != ids(one), "another seed keeps others"


def test_no_opening_takes_more_than_five_percent_of_the_replies() -> None:
    stock = [made(n, openings=("it sounds like", f"own words {n}")) for n in range(100)]
    selection = Selection(0, [*stock, *(made(n) for n in range(100, 300))])
    drop_stock_openings(selection)
    replies = Counter(opening for candidate in selection.kept for opening in candidate.openings)
    assert replies["it sounds like"] == max(replies.values()) <= 0.05 * replies.total()
    assert {exclusion.code for exclusion in selection.excluded} == {"stock_opening"}
    assert len(selection) + len(list(selection.excluded)) == 300


def test_a_small_corpus_is_not_emptied_for_openings_that_it_uses_a_few_times() -> None:
    selection = Selection(0, [made(n, openings=("what was that",)) for n in range(10)])
    drop_stock_openings(selection)
    assert len(selection) == 10


def test_every_split_holds_its_share_of_every_kind() -> None:
    kinds: list[tuple[Mode, str]] = [("ordinary", "cbt"), ("ordinary", "act"), ("safety_first", "cbt")]
    candidates = [made(n, *kinds[n % 3]) for n in range(600)]
    split = splits_of(candidates, "80/10/10", seed=1)
    for mode, modality in kinds:
        of_kind = Counter(s for s, c in zip(split, candidates, strict=True) if (c.mode, c.modality) == (mode, modality))
        assert of_kind["train"] == pytest.approx(160, abs=2)
        assert of_kind["test"] == pytest.approx(20, abs=2)
    by_id = dict(zip((c.id for c in candidates), split, strict=True))
    backwards = splits_of(candidates[::-1], "80/10/10", seed=1)
    assert [by_id[c.id] for c in candidates[::-1]] == backwards
    assert splits_of(candidates, "80/10/10", seed=2) != split


def test_dialogues_of_one_group_of_posts_stay_together() -> None:
    candidates = [replace(made(n), post_group=n // 4) for n in range(400)]
    split = splits_of(candidates, "50/25/25", seed=0)
    assert all(len(set(split[n : n + 4])) == 1 for n in range(0, 400, 4))
    assert len(set(split)) == 3


@pytest.mark.parametrize("text", ["", "x", "0/1", "90/5/5/5", "-1/2"])
def test_shares_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--splits"):
        parse(text)


def test_balance_keeps_the_most_that_the_wanted_shares_allow() -> None:
    modes: dict[int, Mode] = {3: "safety_first", 41: "emergency"}
    kept = [
        made(n, modes.get(n, "ordinary"), modality="cbt" if n < 60 else "act" if n < 80 else "dbt") for n in range(90)
    ]
    selection = Selection(0, kept)
    balance(selection, {"cbt": 0.5, "act": 0.5})
    assert Counter(candidate.modality for candidate in selection.kept) == {"cbt": 20, "act": 20}
    assert {"d3", "d41"} <= ids(selection), "those in danger stay first"
    assert Counter(exclusion.detail for exclusion in selection.excluded) == {"cbt": 40, "dbt": 10}
