"""A post is in one database, and stays where its dialogue has begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corpus.shards import place, shard_of
from psyllm.errors import UsageError
from psyllm.journal import Journal
from psyllm.records import Post
from psyllm.runs import Run

ORIGINS = {f"p{n}": bytes([n]) for n in range(40)}
Open = Callable[[int], dict[int, Journal]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    journals: dict[int, Journal] = {}

    def more(count: int) -> dict[int, Journal]:
        for number in range(len(journals), count):
            journals[number] = Journal.open(tmp_path, {}, "0", shard=number)
        return journals

    yield more
    for journal in journals.values():
        journal.close()


def held_by(journals: dict[int, Journal]) -> dict[str, int]:
    found = [(post_id, number) for number, journal in journals.items() for post_id in journal.origins()]
    assert len(found) == len(ORIGINS), "each once"
    return dict(found)


def test_posts_spread_over_the_workers_in_the_order_of_the_input(opened: Open) -> None:
    journals = opened(3)
    placed = place(ORIGINS, journals, 3)
    assert placed == held_by(journals) == {post_id: shard_of(post_id, 3) for post_id in ORIGINS}
    assert set(placed.values()) == {0, 1, 2}
    positions = {name: position for journal in journals.values() for name, position, _, _ in journal.places()}
    assert sorted(positions, key=positions.__getitem__) == list(ORIGINS)


def test_another_number_of_workers_moves_only_what_has_not_begun(opened: Open, tmp_path: Path) -> None:
    place(ORIGINS, opened(1), 1)
    begun = [post_id for post_id in ORIGINS if shard_of(post_id, 3) != 0][:5]
    journals = opened(3)
    journals[0].add_posts([(0, Post(id=post_id, text="I cannot sleep")) for post_id in begun])
    journals[0].flush()
    placed = place(ORIGINS, journals, 3)
    assert placed == held_by(journals)
    assert {placed[post_id] for post_id in begun} == {0}
    rest = ORIGINS.keys() - set(begun)
    assert all(placed[post_id] == shard_of(post_id, 3) for post_id in rest)
    place(ORIGINS, journals, 1)
    assert set(held_by(journals).values()) == {0}
    with Run(tmp_path) as run:
        assert [post.id for post in run.posts()] == [post_id for post_id in ORIGINS if post_id in begun]


def test_a_move_that_was_cut_off_is_done_again(opened: Open) -> None:
    place(ORIGINS, opened(1), 1)
    journals = opened(2)
    journals[1].expect_posts([(n, post_id, origin) for n, (post_id, origin) in enumerate(ORIGINS.items())])
    journals[1].flush()
    placed = place(ORIGINS, journals, 2)
    assert placed == held_by(journals) == {post_id: shard_of(post_id, 2) for post_id in ORIGINS}


def test_a_post_that_changed_is_refused(opened: Open) -> None:
    place(ORIGINS, opened(2), 2)
    with pytest.raises(UsageError, match="'p7' differs"):
        place(ORIGINS | {"p7": b"another"}, opened(2), 3)
