"""The journal of one run: every post, call and dialogue in one SQLite database (WAL), written in groups.

One thread writes. It commits what has gathered every 10 ms, so that a killed run loses what came while the last
commit was under way; that and the calls in flight are all that the next start pays again. Reading goes through a
connection of its own and sees what is committed.
"""

from __future__ import annotations

import asyncio
import json
import queue
import re
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from psyllm.budget import Spent
from psyllm.errors import Failure, UsageError
from psyllm.mounts import network_kind
from psyllm.records import SCHEMA_VERSION, Dialogue, Post, PromptRef, Status
from psyllm.rows import Call, Job, StoredReply, Writer, find_reply, inflate, whole_call

DATABASE = "journal-0.db"
"""The database of a run that one process grows; each further worker's has the next number."""
GROUP_S = 0.01
"""Seconds that the writer gathers before it commits."""
MOST_BEHIND = 256
"""Jobs that may wait to be committed before nobody makes more: less than a second of a busy process."""


def shard_file(shard: int) -> str:
    """The database of one worker, by its number from 0."""
    return f"journal-{shard}.db"


def shard_numbers(folder: Path) -> list[int]:
    """The numbers of the databases in a run folder, lowest first."""
    found = (re.fullmatch(r"journal-(\d+)\.db", file.name) for file in folder.glob("journal-*.db"))
    return sorted(int(match[1]) for match in found if match)


def held(folder: Path, shard: int = 0) -> FileLock:
    """The lock of one database, taken; the folder is made if needed. Raises Failure('store') if another has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"journal-{shard}.lock")
        lock.acquire(timeout=0)
        return lock
    except Timeout:
        raise Failure(
            "store", f"another process is growing {folder}", hint="wait for it, stop it, or give another --run"
        ) from None
    except OSError as error:
        raise Failure("store", f"cannot write {folder}: {error.strerror}", hint="give another --run") from error


class Journal:
    """Open with `Journal.open(folder, ...)`; close to commit the rest. One process at a time for each database."""

    def __init__(
        self,
        folder: Path,
        lock: FileLock,
        on_failure: Callable[[Failure], None],
        answers_from: Path | None = None,
        shard: int = 0,
    ) -> None:
        self.folder = folder
        self._file = folder / shard_file(shard)
        numbers = shard_numbers(answers_from) if answers_from else []
        self._others = [connect(answers_from / shard_file(n), read_only=True) for n in numbers if answers_from]
        self._lock = lock
        self._on_failure = on_failure
        self._failure: Failure | None = None
        self._queue: queue.SimpleQueue[Job | threading.Event | None] = queue.SimpleQueue()
        self._group: list[Job | threading.Event | None] = []
        """What the writer has taken and not committed."""
        self._reader = connect(self._file, read_only=True)
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    @classmethod
    def open(
        cls,
        folder: Path,
        fingerprint: Mapping[str, Any],
        software_version: str,
        on_failure: Callable[[Failure], None] = lambda failure: None,
        answers_from: Path | None = None,
        shard: int = 0,
    ) -> Self:
        """Open the run folder for growing, creating it if needed.

        `fingerprint` is everything that a dialogue's fate depends on, by dotted name. Raises UsageError if the
        run was started with another one, Failure('store') if another process holds the run or it cannot be written.
        `on_failure` is called from the writer's thread, once, when writing fails. A call that the run folder
        `answers_from` has paid already is taken over from there. `shard` is the number of the database; each is locked
        on its own. Raises UsageError for a folder on a network file system.
        """
        if kind := network_kind(folder):
            raise UsageError(
                f"{folder} is on a network file system ({kind}), which cannot keep a database safe while it grows",
                hint="give a --run on a local disk, or add --engine ray: its workers keep only snapshots there",
            )
        lock = held(folder, shard)
        try:
            _prepare(folder / shard_file(shard), fingerprint, software_version)
            return cls(folder, lock, on_failure, answers_from, shard)
        except sqlite3.Error as error:
            lock.release()
            raise _write_failure(folder / shard_file(shard), error) from error
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Commit everything that was handed over, then let go of the run. The last connection folds the WAL in."""
        self._reader.close()
        for other in self._others:
            other.close()
        self._queue.put(None)
        self._writer.join()
        self._lock.release()

    # -------------------------------------------------------- writing

    def record(self, call: Call, position: int | None) -> None:
        """Store a call and make it step `position` of its dialogue; None for a replay, which is part of none."""
        self._queue.put(lambda w: w.call(call, position))

    def link(self, dialogue_id: str, position: int, key: bytes) -> None:
        """Make a stored call step `position` of a dialogue."""
        self._queue.put(lambda w: w.link(dialogue_id, position, key))

    def finish(self, dialogue: Dialogue) -> None:
        """Store a dialogue's end; a failed one, or one in review, may be stored again."""
        self._queue.put(lambda w: w.dialogue(dialogue))

    def expect_posts(self, posts: Iterable[tuple[int, str, bytes]]) -> None:
        """Say which posts the run is about: position in the input, id, and hash of the post as it was found."""
        rows = tuple(posts)
        for start in range(0, len(rows), 10_000):
            self._queue.put(partial(Writer.expected, rows=rows[start : start + 10_000]))

    def drop_posts(self, post_ids: Iterable[str]) -> None:
        """Forget posts whose dialogue has not begun; another shard has them now."""
        ids = tuple(post_ids)
        self._queue.put(lambda w: w.drop(ids))

    def add_posts(self, posts: Iterable[tuple[int, Post]]) -> None:
        """Store posts with their position in the input, scrubbed."""
        rows = tuple(posts)
        for start in range(0, len(rows), 1000):
            self._queue.put(partial(Writer.posts, rows=rows[start : start + 1000]))

    def add_prompts(self, files: Iterable[tuple[PromptRef, str]]) -> None:
        """Keep the prompt texts with the run, so that it can be read after the files moved on."""
        rows = tuple(files)
        self._queue.put(lambda w: w.prompts(rows))

    def note(self, key: str, value: str) -> None:
        """Keep a fact about the run that no dialogue's fate depends on, such as its profile's name."""
        self._queue.put(lambda w: w.note(key, value))

    async def room(self) -> None:
        """Wait while the writer is far behind: a killed run would lose what waits, and memory would grow with it."""
        while self._queue.qsize() + len(self._group) > MOST_BEHIND:  # noqa: ASYNC110 (the writer is a thread)
            await asyncio.sleep(GROUP_S)

    def flush(self) -> None:
        """Wait until everything handed over so far is committed. Raises the Failure that kept it from being so."""
        done = threading.Event()
        self._queue.put(done)
        done.wait()
        if self._failure is not None:
            raise self._failure

    def _write(self) -> None:
        with closing(connect(self._file)) as db:
            writer = Writer(db)
            closing_down = False
            while not closing_down:
                closing_down = self._gather()
                try:
                    if self._failure is None:
                        writer.commit([job for job in self._group if job and not isinstance(job, threading.Event)])
                except Exception as error:  # whatever it is, the run must stop and say so
                    self._failure = _write_failure(self._file, error)
                    self._on_failure(self._failure)
                group, self._group = self._group, []
                for job in group:
                    if isinstance(job, threading.Event):
                        job.set()

    def _gather(self) -> bool:
        """Take what there is to write; whether the journal is being closed."""
        self._group.append(self._queue.get())
        if self._group != [None]:
            time.sleep(GROUP_S)  # to wake up for every item costs the busy loop more than to write it
        with suppress(queue.Empty):
            while True:
                self._group.append(self._queue.get_nowait())
        return None in self._group

    # -------------------------------------------------------- reading

    def find(self, key: bytes) -> StoredReply | None:
        """The committed reply to exactly this call, if it was ever paid. Raises Failure if the database is damaged."""
        try:
            if (own := find_reply(self._reader, key)) is not None:
                return own
            for other in self._others:
                if (found := find_reply(other, key)) is not None:
                    self._queue.put(partial(Writer.insert, row=whole_call(other, key)))
                    return found
            return None
        except _UNREADABLE as error:
            raise _read_failure(self._file, error) from error

    def finished(self) -> frozenset[str]:
        """Ids of dialogues that are over, failed ones too; those in review are walked again."""
        rows = self._rows("SELECT id FROM dialogues WHERE status != ?", Status.IN_REVIEW)
        return frozenset(row[0] for row in rows)

    def failed(self) -> frozenset[str]:
        """Ids of dialogues in which the machinery failed; they are walked again when asked for."""
        rows = self._rows("SELECT id FROM dialogues WHERE status = ? AND forked_from IS NULL", Status.FAILED)
        return frozenset(row[0] for row in rows)

    def spent(self) -> Spent:
        """What all calls of this run took, over all its starts."""
        ((cost, tokens, unpriced),) = self._rows(
            "SELECT coalesce(sum(cost_usd), 0.0), coalesce(sum(prompt_tokens + completion_tokens), 0),"
            " coalesce(sum(cost_usd IS NULL AND completion_tokens > 0), 0) FROM calls"
        )
        return Spent(cost, tokens, unpriced)

    def origins(self) -> dict[str, bytes]:
        """Post id -> hash of the post as it was found, for every post that this run has been about."""
        return dict(self._rows("SELECT id, origin FROM posts"))

    def places(self) -> list[tuple[str, int, bytes, bool]]:
        """Of every post its id, position, hash as it was found, and whether its dialogue has begun."""
        rows = self._rows("SELECT id, position, origin, record_id IS NOT NULL FROM posts")
        return [(name, position, origin, bool(begun)) for name, position, origin, begun in rows]

    def statuses(self) -> dict[str, Status]:
        """Post id -> how its dialogue ended; forks are left out."""
        rows = self._rows("SELECT post_id, status FROM dialogues WHERE forked_from IS NULL")
        return {post_id: Status(status) for post_id, status in rows}

    def post(self, post_id: str) -> Post | None:
        """A post as the run keeps it; None if its dialogue has never begun."""
        rows = self._rows("SELECT t.body FROM posts p JOIN texts t ON t.id = p.record_id WHERE p.id = ?", post_id)
        return Post.model_validate_json(inflate(rows[0][0])) if rows else None

    def _rows(self, query: str, *values: object) -> list[Any]:
        try:
            return self._reader.execute(query, values).fetchall()
        except _UNREADABLE as error:
            raise _read_failure(self._file, error) from error


_UNREADABLE = (sqlite3.DatabaseError, zlib.error)


def connect(path: Path, *, read_only: bool = False, wal: bool = True) -> sqlite3.Connection:
    """A connection with the run's settings; autocommit, transactions are explicit. WAL needs a local disk."""
    if read_only:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30, check_same_thread=False)
    db = sqlite3.connect(path, isolation_level=None, timeout=30)
    db.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
    db.execute("PRAGMA synchronous=FULL")
    return db


def _prepare(path: Path, fingerprint: Mapping[str, Any], software_version: str) -> None:
    """Create the tables, or check that this run may go on under this fingerprint."""
    with closing(connect(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            tables = (Path(__file__).parent / "journal.sql").read_text(encoding="utf-8")
            for statement in re.sub(r"--[^\n]*", "", tables).split(";"):
                db.execute(statement)
            rows = {
                "schema_version": str(SCHEMA_VERSION),
                "software_version": software_version,
                "fingerprint": json.dumps(fingerprint, sort_keys=True),
                "started": repr(time.time()),
            }
            db.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
        db.execute("COMMIT")
        meta = read_meta(db, path)
    then: dict[str, Any] = json.loads(meta["fingerprint"])
    now: dict[str, Any] = json.loads(json.dumps(fingerprint))
    changed = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    if changed:
        lines = [f"  {key}: run has {then.get(key)!r}, now {now.get(key)!r}" for key in changed]
        raise UsageError(
            f"{path.parent} was started with other settings:\n" + "\n".join(lines),
            hint="go on with the same settings, or give another --run",
        )


def read_meta(db: sqlite3.Connection, path: Path) -> dict[str, str]:
    """The run's meta table. Raises UsageError for a run of another schema version."""
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    if meta.get("schema_version") != str(SCHEMA_VERSION):
        raise UsageError(
            f"{path} has schema version {meta.get('schema_version')}, this psyllm reads {SCHEMA_VERSION}",
            hint=f"use the psyllm it was made with ({meta.get('software_version')}), or start another run",
        )
    return meta


def _read_failure(file: Path, error: Exception) -> Failure:
    return Failure(
        "store",
        f"{file} is damaged: {error}",
        hint=f"put a copy of it back, or save what can be read: sqlite3 {file} .recover | sqlite3 mended.db",
        fatal=True,
    )


def _write_failure(file: Path, error: Exception) -> Failure:
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return Failure("store", f"{file} is no journal of psyllm: {error}", hint="give another --run")
    if isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error):
        return _read_failure(file, error)
    return Failure(
        "store",
        f"cannot write the journal of {file.parent}: {error}",
        hint="free some space or mend the rights, then run the same command: it goes on where this stopped",
        fatal=True,
    )
