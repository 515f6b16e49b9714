"""The posts seen so far: whether one says nearly the same as another, by MinHash over runs of three words.

    with Seen() as seen:
        seen.match(text) or seen.add("a1", text)

The index lies in a temporary SQLite file, so that memory stays flat however many posts there are: about 1 KB of disk
a post.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from array import array
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

from corpus.duplicates import signature
from psyllm.errors import Failure

SIMILAR = 0.7
"""Share of common word runs (Jaccard) from which two posts count as the same."""
_HASHES, _BANDS = 128, 16
"""16 bands of 8 rows: two posts of similarity 0.7 share a band in 61 of 100 cases, of 0.8 in 95, of 0.9 always."""


class Seen:
    """A context manager: the index goes when it ends."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="psyllm-")
        self._db = sqlite3.connect(Path(self._folder.name) / "index.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("PRAGMA cache_size=-32000")
        self._db.execute("CREATE TABLE posts (n INTEGER PRIMARY KEY, name TEXT NOT NULL, signature BLOB NOT NULL)")
        self._db.execute(
            "CREATE TABLE bands (key INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (key, n)) WITHOUT ROWID"
        )
        self._db.execute("CREATE TABLE ids (id INTEGER PRIMARY KEY) WITHOUT ROWID")
        self._db.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        self._folder.cleanup()

    def new_id(self, post_id: str) -> bool:
        """Whether this id comes for the first time; from now on it does not."""
        key = _number(post_id.encode("utf-8", "replace"))
        return self._write("INSERT OR IGNORE INTO ids VALUES (?)", (key,)) > 0

    def match(self, text: str) -> tuple[str, float] | None:
        """Name and similarity of the most similar post added so far, if it is similar enough."""
        own = _signature(text)
        rows = self._db.execute(
            "SELECT name, signature FROM posts WHERE n IN"
            " (SELECT DISTINCT b.n FROM json_each(?) k CROSS JOIN bands b ON b.key = k.value LIMIT 50)",
            (json.dumps(_keys(own)),),
        )
        found = ((name, _similarity(own, array("I", body))) for name, body in rows)
        best = max(found, key=lambda pair: pair[1], default=None)
        return best if best and best[1] >= SIMILAR else None

    def add(self, name: str, text: str) -> None:
        """Remember a post under what it is to be called in messages."""
        own = _signature(text)
        self._write("INSERT INTO posts (name, signature) VALUES (?, ?)", (name, own.tobytes()))
        n = self._db.execute("SELECT last_insert_rowid()").fetchone()[0]
        for key in _keys(own):
            self._write("INSERT OR IGNORE INTO bands VALUES (?, ?)", (key, n))

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        try:
            return self._db.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise Failure(
                "store",
                f"the index of near duplicates cannot be written to {tempfile.gettempdir()}: {error}",
                hint="make room there (about 1 KB a post), or point TMPDIR at another folder",
            ) from error


@lru_cache(maxsize=2)
def _signature(text: str) -> array[int]:
    return array("I", signature(text, _HASHES))


def _keys(own: array[int]) -> list[int]:
    rows = _HASHES // _BANDS
    return [_number(bytes([band]) + own[band * rows : (band + 1) * rows].tobytes()) for band in range(_BANDS)]


def _number(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), signed=True)


def _similarity(one: array[int], other: array[int]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / _HASHES
