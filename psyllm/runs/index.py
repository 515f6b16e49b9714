"""RUN/index.db: what lists and full-text search read, derived from the journals and disposable.

with Run(folder) as run, Index(run) as index:
    index.refresh(words=True)

Any reader brings it up to date on use, in pieces of one transaction each, so that several readers may do so at once.
Growing never touches it. Where the folder cannot be written, or is on a network file system, it lives in memory.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from psyllm.mounts import network_kind
from psyllm.rows import inflate
from psyllm.runs.run import Run

FILE = "index.db"
PIECE = 2000
"""Calls or dialogues that one transaction takes in."""
_SCHEMA = (Path(__file__).parent / "index.sql").read_text(encoding="utf-8")
_VERSION = zlib.crc32(_SCHEMA.encode()) >> 1
Progress = Callable[[int, int], None]
"""Called with (done, of how many) while the index is brought up to date."""


class Index:
    """The index of one run. Usable from several threads one at a time; each process opens its own."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.db = _opened(run.folder / FILE)
        self._seen: tuple[object, ...] | None = None

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def refresh(self, *, words: bool = False, progress: Progress = lambda done, total: None) -> None:
        """Take in what the journals hold by now; with `words` the full text too, which takes longer the first time."""
        seen = (words, *self.run.versions())
        journals = self.run.databases
        if seen == self._seen or (True, *seen[1:]) == self._seen:
            return
        for number, journal in enumerate(journals):
            self._same_run(number, journal)
        for number, journal in enumerate(journals):
            self._steps(number, journal)
            self._dialogues(number, journal, progress)
            if words:
                self._posts(number, journal)
                self._answers(number, journal, progress)
        self._seen = seen

    @contextmanager
    def _piece(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def _same_run(self, number: int, journal: sqlite3.Connection) -> None:
        (started,) = journal.execute("SELECT value FROM meta WHERE key = 'started'").fetchone()
        if self.db.execute("SELECT 1 FROM shards WHERE number = ? AND started = ?", (number, started)).fetchone():
            return
        with self._piece():
            if self.db.execute("SELECT 1 FROM shards WHERE number = ? AND started != ?", (number, started)).fetchone():
                _create(self.db)
            self.db.execute("INSERT OR IGNORE INTO shards VALUES (?, ?, 0, 0, 0)", (number, started))

    def _mark(self, name: str, number: int) -> int:
        return int(self.db.execute(f"SELECT {name} FROM shards WHERE number = ?", (number,)).fetchone()[0])

    def _steps(self, number: int, journal: sqlite3.Connection) -> None:
        (last,) = journal.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()
        if last <= self._mark("steps", number):
            return
        with self._piece():
            rows = journal.execute(
                "SELECT ?, s.call_id, s.dialogue_id, s.position, c.path FROM steps s JOIN calls c ON c.id = s.call_id"
                " WHERE s.call_id > ? AND s.call_id <= ?",
                (number, self._mark("steps", number), last),
            )
            self.db.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?)", rows)
            self.db.execute("UPDATE shards SET steps = ? WHERE number = ?", (last, number))

    def _dialogues(self, number: int, journal: sqlite3.Connection, progress: Progress) -> None:
        known = dict(self.db.execute("SELECT id, ended FROM dialogues").fetchall())
        ended = journal.execute("SELECT id, ended FROM dialogues").fetchall()
        changed = [name for name, when in ended if known.get(name) != when]
        for start in range(0, len(changed), PIECE):
            progress(start, len(changed))
            with self._piece():
                for name in changed[start : start + PIECE]:
                    self._dialogue(number, journal, name)

    def _dialogue(self, number: int, journal: sqlite3.Connection, name: str) -> None:
        uses = journal.execute(
            "SELECT c.role, c.model, c.prompts, count(*), sum(prompt_tokens), sum(completion_tokens), sum(cost_usd),"
            " count(cost_usd), sum(seconds), sum(retries != '[]'), sum(parsed_id IS NULL)"
            " FROM steps s JOIN calls c ON c.id = s.call_id WHERE s.dialogue_id = ? GROUP BY 1, 2, 3",
            (name,),
        ).fetchall()
        calls, sent, received, cost, priced, seconds, retried, misfits = [
            sum(column) for column in zip(*((x or 0 for x in use[3:]) for use in uses), strict=True)
        ] or [0] * 8
        own = journal.execute(
            "SELECT d.id, d.post_id, coalesce(p.position, 0), d.repeat, d.status, d.modality, d.severity, d.mode,"
            " d.rounds, d.rehearsal, d.forked_from, d.ended"
            " FROM dialogues d LEFT JOIN posts p ON p.id = d.post_id WHERE d.id = ?",
            (name,),
        ).fetchone()
        spent = (calls, sent, received, cost if priced == calls else None, seconds, retried, misfits)
        reasons = journal.execute(
            "SELECT position, code, role FROM reasons WHERE dialogue_id = ? ORDER BY position", (name,)
        ).fetchall()
        codes, blamed = (",".join(dict.fromkeys(reason[n] for reason in reasons)) for n in (1, 2))
        values = (*own, *spent, codes, blamed)
        self.db.execute(f"INSERT OR REPLACE INTO dialogues VALUES ({', '.join('?' * len(values))})", values)
        prompts = {
            role: json.dumps(sorted({prompt for use in uses if use[0] == role for prompt in json.loads(use[2])}))
            for role in {use[0] for use in uses}
        }
        for table in ("reasons", "models", "prompts"):
            self.db.execute(f"DELETE FROM {table} WHERE dialogue_id = ?", (name,))
        self.db.executemany("INSERT INTO models VALUES (?, ?)", {(name, use[1]) for use in uses})
        self.db.executemany("INSERT INTO prompts VALUES (?, ?, ?)", [(name, *given) for given in prompts.items()])
        self.db.executemany(
            "INSERT INTO reasons VALUES (?, ?, ?, ?, ?)",
            [(name, *reason, prompts.get(reason[2], "[]")) for reason in reasons],
        )
        shared = journal.execute(
            "SELECT ?, s.call_id, s.dialogue_id, s.position, c.path FROM steps s JOIN calls c ON c.id = s.call_id"
            " WHERE s.dialogue_id = ?",
            (number, name),
        )
        self.db.executemany("INSERT OR IGNORE INTO places VALUES (?, ?, ?, ?, ?)", shared)

    def _posts(self, number: int, journal: sqlite3.Connection) -> None:
        (last,) = journal.execute("SELECT coalesce(max(record_id), 0) FROM posts").fetchone()
        if last <= self._mark("posts", number):
            return
        with self._piece():
            rows = journal.execute(
                "SELECT p.id, t.body FROM posts p JOIN texts t ON t.id = p.record_id"
                " WHERE t.id > ? AND t.id <= ? ORDER BY t.id",
                (self._mark("posts", number), last),
            )
            for post_id, body in rows:
                self._add(number, None, post_id, "post", _posted(body))
            self.db.execute("UPDATE shards SET posts = ? WHERE number = ?", (last, number))

    def _answers(self, number: int, journal: sqlite3.Connection, progress: Progress) -> None:
        (last,) = journal.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()
        while (first := self._mark("words", number)) < last:
            progress(first, last)
            with self._piece():
                first = self._mark("words", number)
                rows = journal.execute(f"{_SAID} WHERE c.id > ? AND c.id <= ?", (first, first + PIECE))
                for call_id, post_id, role, *bodies in rows:
                    self._add(number, call_id, post_id, role, _spoken(*bodies))
                self.db.execute("UPDATE shards SET words = ? WHERE number = ?", (min(first + PIECE, last), number))

    def _add(self, number: int, call_id: int | None, post_id: str, role: str, text: str) -> None:
        added = self.db.execute("INSERT INTO texts VALUES (NULL, ?, ?, ?, ?)", (number, call_id, post_id, role))
        self.db.execute("INSERT INTO words (rowid, role, said) VALUES (?, ?, ?)", (added.lastrowid, role, text))

    def text(self, text_id: int) -> str:
        """The words behind one row of the full text."""
        shard, call_id, post_id = self.db.execute(
            "SELECT shard, call_id, post_id FROM texts WHERE id = ?", (text_id,)
        ).fetchone()
        journal = self.run.databases[shard]
        if call_id is not None:
            return _spoken(*journal.execute(f"{_SAID} WHERE c.id = ?", (call_id,)).fetchone()[3:])
        (body,) = journal.execute(
            "SELECT t.body FROM posts p JOIN texts t ON t.id = p.record_id WHERE p.id = ?", (post_id,)
        ).fetchone()
        return _posted(body)


_SAID = (
    "SELECT c.id, c.post_id, c.role, r.body, p.body, t.body FROM calls c JOIN texts r ON r.id = c.reply_id"
    " LEFT JOIN texts p ON p.id = c.parsed_id LEFT JOIN texts t ON t.id = c.reasoning_id"
)


def _spoken(reply: bytes, parsed: bytes | None, reasoning: bytes | None) -> str:
    """What a call was answered: the strings of the parsed answer, else the raw reply; and the reasoning channel."""
    words = list(_strings(json.loads(inflate(parsed)))) if parsed else [inflate(reply)]
    return "\n".join([*words, *([inflate(reasoning)] if reasoning else [])])


def _posted(body: bytes) -> str:
    post = json.loads(inflate(body))
    return f"{post['title']}\n{post['text']}".strip()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _opened(path: Path) -> sqlite3.Connection:
    if network_kind(path.parent):
        return _ready(":memory:")
    try:
        return _ready(path)
    except sqlite3.OperationalError:
        return _ready(":memory:")
    except sqlite3.DatabaseError:
        for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            file.unlink(missing_ok=True)
        return _ready(path)


def _ready(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
    db.execute("BEGIN IMMEDIATE")
    if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        _create(db)
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    return db


def _create(db: sqlite3.Connection) -> None:
    """Begin anew, within a transaction."""
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'words_%'").fetchall()
    for (name,) in tables:
        db.execute(f"DROP TABLE {name}")
    for statement in re.sub(r"--[^\n]*", "", _SCHEMA).split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {_VERSION}")
