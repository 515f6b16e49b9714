"""The journal of one run: every post, call and dialogue in one SQLite database (WAL), written in groups.

One thread writes. It commits what has gathered every 10 ms, so that a killed run loses at most the replies of
the last 0.1 s; they and the calls in flight are all that the next start pays again. Reading goes through a
connection of its own and sees what is committed.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from psyllm.budget import Spent
from psyllm.errors import Failure, UsageError
from psyllm.messages import Message, Step
from psyllm.records import MODES, SAFETY_MODES, SCHEMA_VERSION, Dialogue, Post, PromptRef, Status

DATABASE = "journal-0.db"
"""The database of a run that one process grows; each further worker's has the next number."""
GROUP_S = 0.01
"""Seconds that the writer gathers before it commits."""


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


@lru_cache(maxsize=2048)
def text_hash(text: str) -> bytes:
    """SHA-256. Most parts of a prompt have been sent before."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the endpoint reports them."""

    prompt: int = 0
    cached: int = 0
    """Part of `prompt` that the server had in its prefix cache."""
    completion: int = 0
    reasoning: int = 0
    """Part of `completion` spent on the reasoning channel."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what was sent, what came back."""

    key: bytes
    step: Step
    correction: int
    """0-based: how often the answer was sent back because it did not fit its schema."""
    sample: int
    role: str
    model_name: str
    model: str
    endpoint: str
    prompts: tuple[PromptRef, ...]
    schema_name: str
    schema_sha256: str
    sampling: Mapping[str, Any]
    messages: tuple[Message, ...]
    reply: str = ""
    reasoning: str = ""
    parsed: str | None = None
    """The answer as JSON; None if it did not fit its schema, or never came."""
    finish_reason: str = ""
    usage: Usage = Usage()
    cost_usd: float | None = None
    started: float = 0.0
    """Unix time of the last request."""
    seconds: float = 0.0
    retries: tuple[str, ...] = ()
    error: str = ""
    rehearsal: bool = False


@dataclass(frozen=True, slots=True)
class StoredReply:
    """The part of a stored call that decides how a dialogue goes on."""

    reply: str
    reasoning: str
    finish_reason: str
    rehearsal: bool
    """Whether the rehearsal backend said it."""


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
        self._queue: queue.SimpleQueue[_Job | threading.Event | None] = queue.SimpleQueue()
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
        on its own.
        """
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
            self._queue.put(partial(_Writer.expected, rows=rows[start : start + 10_000]))

    def drop_posts(self, post_ids: Iterable[str]) -> None:
        """Forget posts whose dialogue has not begun; another shard has them now."""
        ids = tuple(post_ids)
        self._queue.put(lambda w: w.drop(ids))

    def add_posts(self, posts: Iterable[tuple[int, Post]]) -> None:
        """Store posts with their position in the input, scrubbed."""
        rows = tuple(posts)
        for start in range(0, len(rows), 1000):
            self._queue.put(partial(_Writer.posts, rows=rows[start : start + 1000]))

    def add_prompts(self, files: Iterable[tuple[PromptRef, str]]) -> None:
        """Keep the prompt texts with the run, so that it can be read after the files moved on."""
        rows = tuple(files)
        self._queue.put(lambda w: w.prompts(rows))

    def note(self, key: str, value: str) -> None:
        """Keep a fact about the run that no dialogue's fate depends on, such as its profile's name."""
        self._queue.put(lambda w: w.note(key, value))

    def flush(self) -> None:
        """Wait until everything handed over so far is committed. Raises the Failure that kept it from being so."""
        done = threading.Event()
        self._queue.put(done)
        done.wait()
        if self._failure is not None:
            raise self._failure

    def _write(self) -> None:
        with closing(connect(self._file)) as db:
            writer = _Writer(db)
            closing_down = False
            while not closing_down:
                group, closing_down = self._gather()
                try:
                    if self._failure is None:
                        writer.commit([job for job in group if not isinstance(job, threading.Event)])
                except Exception as error:  # whatever it is, the run must stop and say so
                    self._failure = _write_failure(self._file, error)
                    self._on_failure(self._failure)
                for job in group:
                    if isinstance(job, threading.Event):
                        job.set()

    def _gather(self) -> tuple[list[_Job | threading.Event], bool]:
        """The jobs of the next group, and whether the journal is being closed."""
        group: list[_Job | threading.Event] = []
        item = self._queue.get()
        deadline = time.monotonic() + GROUP_S
        while item is not None:
            group.append(item)
            try:
                item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return group, False
        return group, True

    # -------------------------------------------------------- reading

    def find(self, key: bytes) -> StoredReply | None:
        """The committed reply to exactly this call, if it was ever paid. Raises Failure if the database is damaged."""
        try:
            if (own := _find(self._reader, key)) is not None:
                return own
            for other in self._others:
                if (found := _find(other, key)) is not None:
                    self._queue.put(partial(_Writer.insert, row=_whole(other, key)))
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


class _Writer:
    """Turns jobs into rows. Lives in the writer's thread."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._ids: dict[bytes, int] = {}

    def commit(self, jobs: Sequence[_Job]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        for job in jobs:
            job(self)
        self.db.execute("COMMIT")
        if len(self._ids) > 50_000:
            self._ids.clear()

    def text(self, text: str) -> int:
        digest = text_hash(text)
        known = self._ids.get(digest)
        if known is None:
            body = zlib.compress(text.encode(), 6)
            added = self.db.execute("INSERT OR IGNORE INTO texts (sha256, body) VALUES (?, ?)", (digest, body))
            if added.rowcount:
                known = int(added.lastrowid or 0)
            else:
                known = int(self.db.execute("SELECT id FROM texts WHERE sha256 = ?", (digest,)).fetchone()[0])
            self._ids[digest] = known
        return known

    def call(self, call: Call, position: int | None) -> None:
        usage, step = call.usage, call.step
        row = {
            "key": call.key,
            "sample": call.sample,
            "post_id": step.post_id,
            "repeat": step.repeat,
            "path": f"{step.path}/{call.correction}",
            "role": call.role,
            "model_name": call.model_name,
            "model": call.model,
            "endpoint": call.endpoint,
            "prompts": json.dumps([f"{ref.id}@{ref.version}#{ref.sha256}" for ref in call.prompts]),
            "schema_name": call.schema_name,
            "schema_sha256": call.schema_sha256,
            "sampling": json.dumps(call.sampling),
            "messages": [[message.role, message.parts] for message in call.messages],
            "reply_id": call.reply,
            "reasoning_id": call.reasoning or None,
            "parsed_id": call.parsed,
            "finish_reason": call.finish_reason,
            "prompt_tokens": usage.prompt,
            "cached_tokens": usage.cached,
            "completion_tokens": usage.completion,
            "reasoning_tokens": usage.reasoning,
            "cost_usd": call.cost_usd,
            "started": call.started,
            "seconds": call.seconds,
            "retries": json.dumps(call.retries),
            "error": call.error,
            "rehearsal": call.rehearsal,
        }
        self.insert(row)
        if position is not None:
            self.link(step.dialogue_id, position, call.key)

    def insert(self, row: Mapping[str, Any]) -> None:
        """A row of calls, by column; its texts are still texts."""
        messages = [[role, [self.text(part) for part in parts]] for role, parts in row["messages"]]
        ids = {name: None if row[name] is None else self.text(row[name]) for name in _TEXT_IDS}
        values = {**row, **ids, "messages": json.dumps(messages, separators=(",", ":"))}
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        self.db.execute(f"INSERT OR IGNORE INTO calls ({names}) VALUES ({marks})", values)  # noqa: S608 (own names)

    def link(self, dialogue_id: str, position: int, key: bytes) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO steps SELECT ?, ?, id FROM calls WHERE key = ?", (dialogue_id, position, key)
        )

    def dialogue(self, dialogue: Dialogue) -> None:
        plan = dialogue.plan
        modes = [turn.mode for turn in dialogue.turns]
        self.db.execute(
            "INSERT OR REPLACE INTO dialogues VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                dialogue.id,
                dialogue.post_id,
                dialogue.repeat,
                dialogue.status,
                plan.modality.chosen if plan else "",
                plan.modality.drawn if plan else "",
                plan.severity if plan else "",
                max(modes, key=MODES.index, default=""),
                len(dialogue.turns),
                sum(mode in SAFETY_MODES for mode in modes),
                dialogue.provenance.rehearsal,
                dialogue.forked_from,
                time.time(),
                self.text(dialogue.model_dump_json()),
            ),
        )
        self.db.execute("DELETE FROM reasons WHERE dialogue_id = ?", (dialogue.id,))
        self.db.executemany(
            "INSERT INTO reasons VALUES (?, ?, ?, ?, ?, ?)",
            [(dialogue.id, i, r.code, r.role, r.round, r.detail) for i, r in enumerate(dialogue.reasons)],
        )

    def expected(self, rows: Iterable[tuple[int, str, bytes]]) -> None:
        self.db.executemany("INSERT OR IGNORE INTO posts VALUES (?2, ?1, ?3, NULL)", rows)

    def drop(self, post_ids: Iterable[str]) -> None:
        self.db.executemany("DELETE FROM posts WHERE id = ? AND record_id IS NULL", [(name,) for name in post_ids])

    def note(self, key: str, value: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def posts(self, rows: Iterable[tuple[int, Post]]) -> None:
        self.db.executemany(
            "INSERT INTO posts VALUES (?, ?, x'', ?)"
            " ON CONFLICT (id) DO UPDATE SET record_id = excluded.record_id WHERE record_id IS NULL",
            [(post.id, position, self.text(post.model_dump_json())) for position, post in rows],
        )

    def prompts(self, rows: Iterable[tuple[PromptRef, str]]) -> None:
        self.db.executemany(
            "INSERT OR IGNORE INTO prompts VALUES (?, ?, ?, ?)",
            [(ref.sha256, ref.id, ref.version, self.text(text)) for ref, text in rows],
        )


_Job = Callable[[_Writer], None]
_UNREADABLE = (sqlite3.DatabaseError, zlib.error)


_NOTHING = zlib.compress(b"")
_TEXT_IDS = ("reply_id", "reasoning_id", "parsed_id")
"""Columns of calls that point at a text, beside the parts of its messages."""


def _find(db: sqlite3.Connection, key: bytes) -> StoredReply | None:
    row = db.execute(
        "SELECT r.body, t.body, c.finish_reason, c.rehearsal FROM calls c JOIN texts r ON r.id = c.reply_id"
        " LEFT JOIN texts t ON t.id = c.reasoning_id WHERE c.key = ?",
        (key,),
    ).fetchone()
    return StoredReply(inflate(row[0]), inflate(row[1] or _NOTHING), row[2], bool(row[3])) if row else None


def _whole(db: sqlite3.Connection, key: bytes) -> dict[str, Any]:
    """A call's row by column, its texts in place of their ids."""

    def text(text_id: int | None) -> str | None:
        found = db.execute("SELECT body FROM texts WHERE id = ?", (text_id,)).fetchone()
        return inflate(found[0]) if found else None

    cursor = db.execute("SELECT * FROM calls WHERE key = ?", (key,))
    row = dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
    del row["id"]
    row["messages"] = [[role, [text(part) for part in parts]] for role, parts in json.loads(row["messages"])]
    return row | {name: text(row[name]) for name in _TEXT_IDS}


def inflate(body: bytes) -> str:
    """A stored text as it was."""
    return zlib.decompress(body).decode()


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with the run's settings; autocommit, transactions are explicit."""
    if read_only:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30, check_same_thread=False)
    db = sqlite3.connect(path, isolation_level=None, timeout=30)
    db.execute("PRAGMA journal_mode=WAL")
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
