"""The tree layout without a model: nothing lost, nothing doubled, and every token where its row has it."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.rows import Row
from trainer.tree import Tree, pack, trees


def rows_of(seed: int, turns: int) -> list[Row]:
    """Per-turn rows whose prompts are prefixes of one another."""
    draw = random.Random(seed)

    def words(most: int) -> list[int]:
        return [draw.randrange(1, 500) for _ in range(draw.randint(1, most))]

    trunk, rows = words(9), []
    for _ in range(turns):
        trunk = trunk + words(6)
        reply = words(5)
        rows.append(Row(trunk, words(12) + reply))
        trunk = trunk + reply
    return rows


def unfolded(tree: Tree) -> list[tuple[list[int], list[int], list[int]]]:
    """(ids, labels, positions) that each segment stands for: what it sees of the trunk, and itself."""
    found = []
    for start, length, prefix in tree.segments:
        ids = tree.ids[:prefix] + tree.ids[start : start + length]
        labels = [-100] * prefix + tree.labels[start : start + length]
        found.append((ids, labels, list(range(prefix + length))))
    return found


@given(st.integers(0, 10**6), st.integers(1, 7), st.sampled_from([10**6, 60, 1]))
@settings(max_examples=60)
def test_each_segment_unfolds_to_one_row_and_every_row_is_there_once(seed: int, turns: int, most: int) -> None:
    rows = rows_of(seed, turns)
    found = [segment for tree in trees(rows, most) for segment in unfolded(tree)]
    wanted = [(row.prompt + row.completion, [-100] * len(row.prompt) + row.completion) for row in rows]
    assert sorted((ids, labels) for ids, labels, _ in found) == sorted(wanted)
    for tree in trees(rows, most):
        assert len(tree) <= most or len(tree.segments) == 1


def test_a_dialogue_of_real_proportions_costs_little_more_than_itself() -> None:
    trunk, rows = list(range(300)), []
    for turn in range(6):
        trunk = trunk + [turn] * 60
        rows.append(Row(trunk, [turn] * 350))
        trunk = trunk + [turn] * 100
    (tree,) = trees(rows, 10**6)
    told_once = 300 + 6 * (60 + 350)
    assert len(tree) / told_once < 1.2
    assert sum(len(row.prompt) + len(row.completion) for row in rows) / len(tree) > 2


def test_a_prompt_that_is_no_prefix_gets_a_trunk_of_its_own() -> None:
    first, second = rows_of(1, 2)
    odd = Row([*first.prompt[:-1], 999], first.completion)
    found = trees([odd, second], 10**6)
    assert [len(tree.segments) for tree in found] == [1, 1]
    assert {tuple(tree.ids) for tree in found} == {tuple(row.prompt + row.completion) for row in (odd, second)}


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40), st.integers(20, 60))
@settings(max_examples=60)
def test_packs_hold_every_tree_once_and_never_more_than_fits(lengths: list[int], most: int) -> None:
    items = [Tree.of_ids([n] * length, [n] * length) for n, length in enumerate(lengths)]
    packs = pack(items, most)
    assert sorted(tree.ids[0] for trees in packs for tree in trees) == list(range(len(items)))
    assert all(sum(map(len, trees)) <= most or len(trees) == 1 for trees in packs)
