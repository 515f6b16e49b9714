"""What an export has to choose from: the dialogues that passed its filters, and those that were left out.

    with Selection(seed=0) as selection:
        selection.add(candidate)
        selection.drop("duplicate_case", [(0, "near duplicate of d1")])

They lie in a private SQLite file that goes with its connection, so that memory stays flat however many there are: about
250 bytes of disk a dialogue. What is decided over all of them (`corpus.selection`, `corpus.splits`) is asked in SQL.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from types import TracebackType
from typing import Any, Self

from psyllm.records import Mode

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA cache_size = -8000;
CREATE TABLE candidates (
    run INTEGER NOT NULL, id TEXT NOT NULL, post_id TEXT NOT NULL, mode TEXT NOT NULL, modality TEXT NOT NULL,
    severity TEXT NOT NULL, risk_level INTEGER NOT NULL, openings TEXT NOT NULL, post_group INTEGER, text_group INTEGER,
    place BLOB NOT NULL, n INTEGER PRIMARY KEY, UNIQUE (run, id)
);
CREATE TABLE excluded (run INTEGER, id TEXT, post_id TEXT, code TEXT, detail TEXT, n INTEGER);
CREATE TABLE splits (post_group INTEGER PRIMARY KEY, name TEXT NOT NULL);
BEGIN;
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the limits need to know of a dialogue that passed the filters."""

    run: int
    """Which of the given runs holds it, 0-based."""
    id: str
    post_id: str
    mode: Mode
    modality: str
    severity: str
    risk_level: int
    openings: tuple[str, ...]
    """The first three words of each reply."""
    post_group: int = 0
    """The same for all dialogues whose posts are the same or near duplicates."""
    text_group: int = 0
    """The same for all dialogues whose spoken words are near duplicates."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    run: int
    id: str
    post_id: str
    code: str
    detail: str = ""


class Selection:
    """Candidates in, then limits; what is left in `kept`, what is not in `excluded`."""

    def __init__(self, seed: int, candidates: Iterable[Candidate] = ()) -> None:
        self._seed = seed
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_TABLES)
        self._added = 0
        for candidate in candidates:
            self.add(candidate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def __len__(self) -> int:
        """How many are kept."""
        ((count,),) = self.rows("SELECT count(*) FROM candidates")
        return int(count)

    def add(self, candidate: Candidate) -> None:
        """It gets the next number, from 0 on."""
        values = [json.dumps(value) if isinstance(value, tuple) else value for value in astuple(candidate)]
        values += [rank(self._seed, candidate.post_id), self._added]
        self._db.execute(f"INSERT INTO candidates VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
        self._added += 1

    def group(self, posts: Iterable[int], texts: Iterable[int]) -> None:
        """Set `post_group` and `text_group` of all, in the order in which they were added."""
        groups = ((post, text, n) for n, (post, text) in enumerate(zip(posts, texts, strict=True)))
        self._db.executemany("UPDATE candidates SET post_group = ?, text_group = ? WHERE n = ?", groups)

    def exclude(self, exclusion: Exclusion) -> None:
        """Count out a dialogue that never was a candidate."""
        self._db.execute("INSERT INTO excluded VALUES (?, ?, ?, ?, ?, NULL)", astuple(exclusion))

    def drop(self, code: str, numbers: Iterable[tuple[int, str]]) -> int:
        """Count out candidates by (number, detail); says how many."""
        before = len(self)
        self._db.executemany(
            "INSERT INTO excluded SELECT run, id, post_id, ?, ?, n FROM candidates WHERE n = ?",
            ((code, detail, n) for n, detail in numbers),
        )
        self._db.execute("DELETE FROM candidates WHERE n IN (SELECT n FROM excluded)")
        return before - len(self)

    def split(self, names: Iterable[tuple[int, str]]) -> None:
        """Set the split of each group of posts, by (group, name)."""
        self._db.executemany("INSERT INTO splits VALUES (?, ?)", names)

    def chosen(self, run: int, dialogue_id: str) -> tuple[Candidate, str] | None:
        """A dialogue that is kept, and its split; None if it is not."""
        found = self.rows(
            "SELECT c.*, s.name FROM candidates c JOIN splits s USING (post_group) WHERE run = ? AND id = ?",
            *(run, dialogue_id),
        )
        return next(((_candidate(row), row[-1]) for row in found), None)

    @property
    def kept(self) -> Iterator[Candidate]:
        """In the order in which they were added."""
        return map(_candidate, self.rows("SELECT * FROM candidates ORDER BY n"))

    @property
    def excluded(self) -> Iterator[Exclusion]:
        """In the order in which they were left out."""
        return (Exclusion(*row[:5]) for row in self.rows("SELECT * FROM excluded ORDER BY rowid"))

    def left_out(self) -> dict[str, int]:
        """Reason code -> dialogues, most frequent first."""
        return dict(self.rows("SELECT code, count(*) FROM excluded GROUP BY code ORDER BY count(*) DESC, min(rowid)"))

    def rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Of the tables above. `place` is where the seed puts a dialogue's post, n its number."""
        return self._db.execute(query, values)


def _candidate(row: tuple[Any, ...]) -> Candidate:
    run, name, post_id, mode, modality, severity, level, openings, post, text = row[:10]
    return Candidate(run, name, post_id, mode, modality, severity, level, tuple(json.loads(openings)), post, text)


def rank(seed: int, post_id: str) -> bytes:
    """Where a post stands in every order that a seed draws."""
    return hashlib.sha256(f"{seed}/{post_id}".encode()).digest()
