"""Reads a run folder: dialogues, their calls, and the counts that status prints. Never writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psyllm.errors import UsageError
from psyllm.journal import connect, inflate, read_meta
from psyllm.records import Dialogue, Post, PromptRef, Status


@dataclass(frozen=True)
class Spend:
    """What one role cost in a run."""

    role: str
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None if any of the calls has no price."""
    seconds: float
    """Summed over calls; calls overlap."""
    misfits: int
    """Replies that did not fit their schema."""
    retried: int
    """Calls that needed more than one request."""


@dataclass(frozen=True)
class StoredCall:
    """One step of a dialogue, as it was sent and answered."""

    position: int
    path: str
    role: str
    model: str
    prompts: tuple[str, ...]
    messages: tuple[tuple[str, str], ...]
    """(role, text) as sent, byte for byte."""
    reply: str
    reasoning: str
    parsed: str | None
    error: str
    retries: tuple[str, ...]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_usd: float | None
    seconds: float


class Run:
    """An existing run folder, opened for reading. Several databases (one a worker) read as one."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError if there is no run here, or one of another schema version."""
        files = sorted(folder.glob("journal-*.db"))
        if not files:
            raise UsageError(f"{folder} holds no run", hint="`psyllm grow POSTS --run DIR` makes one")
        self.folder = folder
        self._databases = []
        for file in files:
            try:
                database = connect(file, read_only=True)
                self.meta = read_meta(database, file)
            except sqlite3.DatabaseError as error:
                raise UsageError(f"{file} cannot be read: {error}", hint="is it a psyllm run?") from error
            self._databases.append(database)

    def close(self) -> None:
        for database in self._databases:
            database.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What every dialogue's fate depends on, by dotted name."""
        facts: dict[str, Any] = json.loads(self.meta["fingerprint"])
        return facts

    def dialogues(self, status: Status | None = None) -> Iterator[Dialogue]:
        """Every dialogue, in the order of its post in the input."""
        for row in self._rows(
            "SELECT t.body FROM dialogues d JOIN texts t ON t.id = d.record_id LEFT JOIN posts p ON p.id = d.post_id"
            " WHERE ?1 IS NULL OR d.status = ?1 ORDER BY p.position, d.repeat, d.id",
            (status,),
        ):
            yield Dialogue.model_validate_json(inflate(row[0]))

    def dialogue(self, short_id: str) -> Dialogue:
        """The dialogue whose id, or post id, starts like this. Raises UsageError for none or several."""
        rows = list(
            self._rows(
                "SELECT d.id, t.body, d.post_id FROM dialogues d JOIN texts t ON t.id = d.record_id"
                " WHERE substr(d.id, 1, ?1) = ?2 OR substr(d.post_id, 1, ?1) = ?2",
                (len(short_id), short_id),
            )
        )
        rows = [row for row in rows if short_id in (row[0], row[2])] or rows
        if len(rows) != 1:
            found = ", ".join(row[0] for row in rows[:8]) or "none"
            raise UsageError(
                f"{len(rows)} dialogues of {self.folder} match {short_id!r}: {found}",
                hint="give more of the dialogue's id, or of its post's",
            )
        return Dialogue.model_validate_json(inflate(rows[0][1]))

    def rehearsal(self) -> bool:
        """Whether any dialogue holds stand-in words."""
        return any(row[0] for row in self._rows("SELECT max(rehearsal) FROM dialogues"))

    def prompt(self, prompt_id: str) -> tuple[PromptRef, str]:
        """A prompt file as the run keeps it. Raises UsageError if it holds none of that id."""
        for row in self._rows(
            "SELECT p.version, p.sha256, t.body FROM prompts p JOIN texts t ON t.id = p.text_id WHERE p.id = ?",
            (prompt_id,),
        ):
            return PromptRef(id=prompt_id, version=row[0], sha256=row[1]), inflate(row[2])
        raise UsageError(f"{self.folder} holds no prompt {prompt_id!r}", hint="was it made by this psyllm?")

    def calls(self, dialogue_id: str) -> Iterator[StoredCall]:
        """A dialogue's calls in the order made."""
        for database in self._databases:
            database.row_factory = sqlite3.Row
            rows = database.execute(
                "SELECT s.position, c.* FROM steps s JOIN calls c ON c.id = s.call_id"
                " WHERE s.dialogue_id = ? ORDER BY s.position",
                (dialogue_id,),
            ).fetchall()
            database.row_factory = None
            for row in rows:
                yield StoredCall(
                    position=row["position"],
                    path=row["path"],
                    role=row["role"],
                    model=row["model"],
                    prompts=tuple(json.loads(row["prompts"])),
                    messages=tuple(
                        (role, "\n\n".join(self._text(database, part) for part in parts))
                        for role, parts in json.loads(row["messages"])
                    ),
                    reply=self._text(database, row["reply_id"]),
                    reasoning=self._text(database, row["reasoning_id"]),
                    parsed=self._text(database, row["parsed_id"]) or None,
                    error=row["error"],
                    retries=tuple(json.loads(row["retries"])),
                    prompt_tokens=row["prompt_tokens"],
                    cached_tokens=row["cached_tokens"],
                    completion_tokens=row["completion_tokens"],
                    cost_usd=row["cost_usd"],
                    seconds=row["seconds"],
                )

    def status_counts(self) -> dict[Status, int]:
        found = dict(self._summed(1, "SELECT status, count(*) FROM dialogues GROUP BY 1"))
        return {status: found.get(status, 0) for status in Status}

    def post_count(self) -> int:
        return sum(row[0] for row in self._rows("SELECT count(*) FROM posts"))

    def posts(self) -> Iterator[Post]:
        """Every post whose dialogue has begun, scrubbed, in the order of the input."""
        rows = self._rows("SELECT t.body FROM posts p JOIN texts t ON t.id = p.record_id ORDER BY p.position, p.id")
        return (Post.model_validate_json(inflate(row[0])) for row in rows)

    def accepted_by_modality(self) -> list[tuple[str, int, int]]:
        """(modality, dialogues planned, accepted), most accepted first."""
        rows = self._summed(
            1, "SELECT modality, count(*), sum(status = 'accepted') FROM dialogues WHERE modality != '' GROUP BY 1"
        )
        return sorted(rows, key=lambda row: (-row[2], row[0]))

    def accepted_by_mode(self) -> list[tuple[str, int, int]]:
        """(most urgent response mode, dialogues, accepted), most frequent first."""
        rows = self._summed(
            1, "SELECT mode, count(*), sum(status = 'accepted') FROM dialogues WHERE mode != '' GROUP BY 1"
        )
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def reasons(self) -> list[tuple[str, str, str, int]]:
        """(status, code, blamed role, dialogues), most frequent first."""
        rows = self._summed(
            3,
            "SELECT d.status, r.code, r.role, count(DISTINCT d.id) FROM reasons r"
            " JOIN dialogues d ON d.id = r.dialogue_id GROUP BY 1, 2, 3",
        )
        return sorted(rows, key=lambda row: (-row[3], row[1]))

    def spend(self) -> list[Spend]:
        """Per role, over every call the run paid, the dearest in tokens first."""
        rows = self._summed(
            1,
            "SELECT role, count(*), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),"
            " CASE WHEN count(cost_usd) = count(*) THEN sum(cost_usd) END, sum(seconds), sum(parsed_id IS NULL),"
            " sum(retries != '[]') FROM calls GROUP BY 1",
        )
        return sorted((Spend(*row) for row in rows), key=lambda spend: -spend.prompt_tokens)

    def _summed(self, keys: int, query: str) -> list[tuple[Any, ...]]:
        """Rows of all databases; those alike in their first `keys` columns are added up, and None stays None."""
        totals: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for row in self._rows(query):
            key, numbers = row[:keys], row[keys:]
            before = totals.get(key, (0,) * len(numbers))
            totals[key] = tuple(None if None in pair else sum(pair) for pair in zip(before, numbers, strict=True))
        return [key + numbers for key, numbers in totals.items()]

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        for database in self._databases:
            yield from database.execute(query, values)

    @staticmethod
    def _text(database: sqlite3.Connection, text_id: int | None) -> str:
        row = database.execute("SELECT body FROM texts WHERE id = ?", (text_id,)).fetchone()
        return inflate(row[0]) if row else ""
