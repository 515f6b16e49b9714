"""The posts seen so far: whether one says nearly the same as another.

    with Seen() as seen:
        seen.sift([("a1", text), ("a2", other)])     # what each is like; those that are like none are remembered

By MinHash over runs of three words; and, with an embedding model, by meaning. The index lies in temporary files, so
that memory stays flat however many posts there are: about 1 KB of disk a post, 1.5 KB more for a small model's vector.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from corpus.duplicates import no_room, signature
from corpus.embeddings import Embedder, VectorFile

SIMILAR = 0.7
"""Share of common word runs (Jaccard) from which two posts count as the same."""
TOGETHER = 256
"""Posts that are best sifted at once: a model takes many faster than one by one."""
_HASHES, _BANDS = 128, 16
"""16 bands of 8 rows: two posts of similarity 0.7 share a band in 61 of 100 cases, of 0.8 in 95, of 0.9 always."""


@dataclass(frozen=True, slots=True)
class Match:
    """The post that one is most like."""

    name: str
    share: float
    """Of common word runs, or cosine similarity of meaning."""
    by_meaning: bool = False
    same: bool = True
    """Whether it is like enough to count as the same."""

    def __str__(self) -> str:
        return (
            f"{self.share:.2f} like {self.name} in meaning" if self.by_meaning else f"{self.share:.0%} like {self.name}"
        )


class Seen:
    """A context manager: the index goes when it ends."""

    def __init__(self, embedder: Embedder | None = None, similar: float = 1.0) -> None:
        """With an embedder, posts from the cosine similarity `similar` on count as the same too."""
        self._embedder = embedder
        self._similar = similar

    def __enter__(self) -> Self:
        self._vectors = VectorFile().__enter__()
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
        self._vectors.__exit__(kind, error, trace)

    def new_id(self, post_id: str) -> bool:
        """Whether this id comes for the first time; from now on it does not."""
        key = _number(post_id.encode("utf-8", "replace"))
        return self._write("INSERT OR IGNORE INTO ids VALUES (?)", (key,)) > 0

    def sift(self, posts: Sequence[tuple[str, str]]) -> list[Match | None]:
        """What each of some posts (name for messages, text) is like, of those remembered and those before it.

        A post that is the same as none is remembered from now on. With an embedder, the nearest one is told of it too.
        """
        if self._embedder is None or not posts:
            return [self._sifted(name, text) for name, text in posts]
        own = self._embedder.vectors([text for _, text in posts])
        near, number = self._vectors.nearest(own)
        among = own @ own.T
        fresh: list[int] = []
        found: list[Match | None] = []
        for row, (name, text) in enumerate(posts):
            best, at = float(near[row]), int(number[row])
            for later, other in enumerate(fresh, self._vectors.count):
                if among[row, other] > best:
                    best, at = float(among[row, other]), later
            meant = Match(self._name(at), best, by_meaning=True, same=best >= self._similar) if at >= 0 else None
            match = self.match(text) or meant
            if match is None or not match.same:
                self._add(name, text)
                fresh.append(row)
            found.append(match)
        self._vectors.add(own[fresh])
        return found

    def remember(self, posts: Iterable[tuple[str, str]]) -> None:
        """Posts (name for messages, text) that others are compared with, whatever they are like themselves."""
        waiting = iter(posts)
        while some := list(islice(waiting, TOGETHER)):
            for name, text in some:
                self._add(name, text)
            if self._embedder is not None:
                self._vectors.add(self._embedder.vectors([text for _, text in some]))

    def _sifted(self, name: str, text: str) -> Match | None:
        match = self.match(text)
        if match is None:
            self._add(name, text)
        return match

    def match(self, text: str) -> Match | None:
        """The post added so far that shares most word runs, if they are enough."""
        own = _signature(text)
        rows = self._db.execute(
            "SELECT name, signature FROM posts WHERE n IN"
            " (SELECT DISTINCT b.n FROM json_each(?) k CROSS JOIN bands b ON b.key = k.value LIMIT 50)",
            (json.dumps(_keys(own)),),
        )
        found = (Match(name, _similarity(own, array("I", body))) for name, body in rows)
        best = max(found, key=lambda match: match.share, default=None)
        return best if best and best.share >= SIMILAR else None

    def _add(self, name: str, text: str) -> None:
        own = _signature(text)
        self._write("INSERT INTO posts (name, signature) VALUES (?, ?)", (name, own.tobytes()))
        n = self._db.execute("SELECT last_insert_rowid()").fetchone()[0]
        for key in _keys(own):
            self._write("INSERT OR IGNORE INTO bands VALUES (?, ?)", (key, n))

    def _name(self, vector: int) -> str:
        """Posts and vectors are added together; SQLite counts from 1."""
        return str(self._db.execute("SELECT name FROM posts WHERE n = ?", (vector + 1,)).fetchone()[0])

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        try:
            return self._db.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise no_room(error, "1 KB a post") from error


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
