"""What the journal's tables hold of a call, and the writer that turns records into rows (psyllm/journal.sql)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from psyllm.messages import Message, Step
from psyllm.records import MODES, SAFETY_MODES, Dialogue, Post, PromptRef

_NOTHING = zlib.compress(b"")
_TEXT_IDS = ("reply_id", "reasoning_id", "parsed_id")
"""Columns of calls that point at a text, beside the parts of its messages."""


@lru_cache(maxsize=2048)
def text_hash(text: str) -> bytes:
    """SHA-256. Most parts of a prompt have been sent before."""
    return hashlib.sha256(text.encode()).digest()


def inflate(body: bytes) -> str:
    """A stored text as it was."""
    return zlib.decompress(body).decode()


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


class Writer:
    """Turns jobs into rows. Lives in the journal's thread."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._ids: dict[bytes, int] = {}

    def commit(self, jobs: Sequence[Job]) -> None:
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


Job = Callable[[Writer], None]
"""What the writer's thread is given."""


def find_reply(db: sqlite3.Connection, key: bytes) -> StoredReply | None:
    """The committed answer to exactly this call."""
    row = db.execute(
        "SELECT r.body, t.body, c.finish_reason, c.rehearsal FROM calls c JOIN texts r ON r.id = c.reply_id"
        " LEFT JOIN texts t ON t.id = c.reasoning_id WHERE c.key = ?",
        (key,),
    ).fetchone()
    return StoredReply(inflate(row[0]), inflate(row[1] or _NOTHING), row[2], bool(row[3])) if row else None


def whole_call(db: sqlite3.Connection, key: bytes) -> dict[str, Any]:
    """A call's row by column, its texts in place of their ids."""

    def text(text_id: int | None) -> str | None:
        found = db.execute("SELECT body FROM texts WHERE id = ?", (text_id,)).fetchone()
        return inflate(found[0]) if found else None

    cursor = db.execute("SELECT * FROM calls WHERE key = ?", (key,))
    row = dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
    del row["id"]
    row["messages"] = [[role, [text(part) for part in parts]] for role, parts in json.loads(row["messages"])]
    return row | {name: text(row[name]) for name in _TEXT_IDS}
