"""What the dialogues of a run took, and which calls two runs have in common: sums only, no text is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psyllm.journal import connect


@dataclass(frozen=True)
class Spent:
    """One dialogue's calls, those taken over from another run included."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None if any of the calls has no price."""


NOTHING = Spent(0, 0, 0, 0.0)


def spent(folder: Path) -> dict[str, Spent]:
    """Dialogue id -> what its calls took."""
    rows = _rows(
        folder,
        "SELECT s.dialogue_id, count(*), sum(c.prompt_tokens), sum(c.completion_tokens),"
        " CASE WHEN count(c.cost_usd) = count(*) THEN sum(c.cost_usd) END"
        " FROM steps s JOIN calls c ON c.id = s.call_id GROUP BY 1",
    )
    return {row[0]: Spent(*row[1:]) for row in rows}


def payments(folder: Path, dialogues: Iterable[str]) -> frozenset[tuple[bytes, float]]:
    """(key, unix time of its request) of these dialogues' calls: one taken over keeps the time at which it was paid."""
    wanted = frozenset(dialogues)
    rows = _rows(folder, "SELECT s.dialogue_id, c.key, c.started FROM steps s JOIN calls c ON c.id = s.call_id")
    return frozenset((key, started) for dialogue, key, started in rows if dialogue in wanted)


def _rows(folder: Path, query: str) -> Iterator[tuple[Any, ...]]:
    for file in sorted(folder.glob("journal-*.db")):
        with closing(connect(file, read_only=True)) as db:
            yield from db.execute(query).fetchall()
