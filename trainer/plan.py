"""From conversations to packs: what training will see, counted before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from trainer.rows import Dropped, encode, keep_all
from trainer.sources import Conversation
from trainer.tree import Tree, pack, trees

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Layout = Literal["tree", "rows", "keep-all"]


@dataclass
class Side:
    """One side of the split, laid out and packed."""

    conversations: int
    packs: list[list[Tree]]
    row_tokens: int
    """What per-turn rows of the same turns would have; 0 for keep-all."""
    dropped: Dropped = field(default_factory=Dropped)

    @property
    def turns(self) -> int:
        return sum(len(tree.segments) for trees in self.packs for tree in trees)

    @property
    def tokens(self) -> int:
        return sum(len(tree) for trees in self.packs for tree in trees)

    @property
    def attended(self) -> int:
        """Pairs of tokens of which one sees the other."""
        segments = (segment for trees in self.packs for tree in trees for segment in tree.segments)
        return sum(length * prefix + length * (length + 1) // 2 for _, length, prefix in segments)

    @property
    def labels(self) -> int:
        """Tokens that loss falls on."""
        return sum(label != -100 for trees in self.packs for tree in trees for label in tree.labels)


@dataclass
class Plan:
    """What training will see."""

    layout: Layout
    max_length: int
    packing: bool
    train: Side
    held: Side | None

    @property
    def fill(self) -> float:
        """Mean share of a pack's max_length that holds tokens."""
        return self.train.tokens / (len(self.train.packs) * self.max_length)


def make_plan(
    train: Sequence[Conversation],
    held: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    *,
    layout: Layout,
    max_length: int,
    packing: bool,
) -> Plan:
    """Rows, trees and packs of both sides. Raises UsageError if a side has no turn left."""

    def side(conversations: Sequence[Conversation]) -> Side:
        dropped = Dropped()
        row_tokens = 0
        if layout == "keep-all":
            whole = keep_all(conversations, tokenizer, max_length, dropped)
            items = [Tree.of_ids(ids, labels) for ids, labels in whole]
        else:
            encoded = [one.rows for one in encode(conversations, tokenizer, max_length, dropped)]
            row_tokens = sum(len(row.prompt) + len(row.completion) for rows in encoded for row in rows)
            if layout == "tree":
                items = [tree for rows in encoded for tree in trees(rows, max_length)]
            else:
                items = [Tree.of_row(row) for rows in encoded for row in rows]
        packs = pack(items, max_length) if packing else [[tree] for tree in items]
        return Side(len(conversations), packs, row_tokens, dropped)

    return Plan(layout, max_length, packing, side(train), side(held) if held else None)
