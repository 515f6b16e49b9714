"""A dialogue told once: its last per-turn row in full, and one branch for each earlier turn.

The prompts of a dialogue are prefixes of one another, since they hold spoken words only. So the longest row is the
trunk, and an earlier turn needs only its completion, as a branch that attends to the trunk up to its own prompt and to
itself, at the positions that follow. A branch starts with a copy of its prompt's last token: the ordinary label shift
then stays right, and any causal loss works unchanged. Loss and gradients equal those of the rows (tests/trainer).

    trunk    s s s c1 c1 r1 r1 c2 c2 T2 T2 r2 r2       (system, client, reply; Thinking)
    branch                 c1 T1 T1 r1 r1              sees the trunk up to its c1

A prompt that is no exact prefix, or a branch for which there is no room, becomes a tree of its own.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from trainer.rows import Ids, Row


@dataclass
class Tree:
    """Token ids with labels; `segments` holds (start, length, prefix): tokens that attend to the first `prefix`
    tokens of the tree and, causally, to themselves. The first segment is the trunk."""

    ids: Ids
    labels: Ids
    segments: list[tuple[int, int, int]] = field(default_factory=list)

    @classmethod
    def of_row(cls, row: Row) -> Tree:
        """A tree without branches."""
        return cls.of_ids(row.prompt + row.completion, [-100] * len(row.prompt) + row.completion)

    @classmethod
    def of_ids(cls, ids: Ids, labels: Ids) -> Tree:
        return cls(list(ids), list(labels), [(0, len(ids), 0)])

    def __len__(self) -> int:
        return len(self.ids)

    def takes(self, row: Row, max_length: int) -> bool:
        """Whether the row can be a branch: its prompt is on the trunk, and there is room."""
        here = len(row.prompt)
        trunk = self.segments[0][1]
        return here <= trunk and len(self) + 1 + len(row.completion) <= max_length and self.ids[:here] == row.prompt

    def grow(self, row: Row) -> None:
        """Add the row as a branch."""
        self.segments.append((len(self), 1 + len(row.completion), len(row.prompt) - 1))
        self.ids += [row.prompt[-1], *row.completion]
        self.labels += [-100, *row.completion]


def trees(rows: Iterable[Row], max_length: int) -> list[Tree]:
    """The rows of one dialogue as few trees of at most `max_length` tokens; a longer row is a tree all the same."""
    found: list[Tree] = []
    for row in sorted(rows, key=lambda row: -len(row.prompt)):
        for tree in found:
            if tree.takes(row, max_length):
                tree.grow(row)
                break
        else:
            found.append(Tree.of_row(row))
    return found


def pack(items: Iterable[Tree], max_length: int) -> list[list[Tree]]:
    """Packs of at most `max_length` tokens: best fit, the longest first. What is longer gets a pack of its own."""
    packs: list[list[Tree]] = []
    rooms: list[tuple[int, int]] = []
    """(tokens left, pack), sorted."""
    for tree in sorted(items, key=lambda tree: -len(tree)):
        at = bisect_left(rooms, (len(tree), 0))
        if at < len(rooms):
            room, number = rooms.pop(at)
        else:
            room, number = max_length, len(packs)
            packs.append([])
        packs[number].append(tree)
        insort(rooms, (room - len(tree), number))
    return packs
