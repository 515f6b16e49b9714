"""Reads a run folder: dialogues, their calls, and the counts that status prints. Never writes."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psyllm.errors import NoMatch, UsageError
from psyllm.journal import connect, read_meta, shard_file, shard_numbers
from psyllm.messages import MessageRole
from psyllm.records import Dialogue, Post, PromptRef, Status
from psyllm.rows import inflate
from psyllm.settings import Rules

EDITED = "edited"
"""The model of a reply that a person wrote into a fork."""


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
class Coverage:
    """How far one modality has come."""

    modality: str
    wanted: float
    """Share of the dialogues, by the settings."""
    drawn: int
    """Dialogues in which it was the first candidate."""
    chosen: int
    """Dialogues that were held in it."""
    accepted: int
    rounds: int
    """Rounds of its accepted dialogues."""
    safety_rounds: int
    """Those of them in which danger replaced its techniques by the safety protocol."""


@dataclass(frozen=True)
class StoredCall:
    """One step of a dialogue, as it was sent and answered."""

    key: bytes
    """What the call is known by: alike in a fork and its parent."""
    position: int
    path: str
    """round/node/attempt/correction; round 0 is the plan, the other two count from 0."""
    role: str
    model_name: str
    """As psyllm.toml calls it; EDITED if a person wrote the reply."""
    model: str
    """As the endpoint knows it."""
    sample: int
    prompts: tuple[str, ...]
    """As `cbt@1.0#0123abcd4567`."""
    schema_name: str
    sampling: Mapping[str, Any]
    messages: tuple[tuple[MessageRole, str], ...]
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
    started: float
    """Unix time of the last request."""
    seconds: float
    finish_reason: str
    rehearsal: bool
    """Whether the rehearsal backend said it."""

    @property
    def round(self) -> int:
        return int(self.path.split("/")[0])

    @property
    def node(self) -> str:
        return self.path.split("/")[1]

    @property
    def attempt(self) -> int:
        return int(self.path.split("/")[2])

    @property
    def correction(self) -> int:
        return int(self.path.split("/")[3])


class Run:
    """An existing run folder, opened for reading. Several databases (one a worker) read as one."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError if there is no run here, or one of another schema version."""
        files = [folder / shard_file(number) for number in shard_numbers(folder)]
        if not files:
            raise UsageError(f"{folder} holds no run", hint="`psyllm grow POSTS --run DIR` makes one")
        self.folder = folder
        self._files = files
        self._inodes = [0] * len(files)
        self.databases: list[sqlite3.Connection] = []
        """One a worker, each opened for reading."""
        for number in range(len(files)):
            self.databases.append(self._opened(number))

    def _opened(self, number: int) -> sqlite3.Connection:
        file = self._files[number]
        try:
            self._inodes[number] = file.stat().st_ino
            database = connect(file, read_only=True)
            self.meta = read_meta(database, file)
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{file} cannot be read: {error}", hint="is it a psyllm run?") from error
        return database

    def versions(self) -> tuple[tuple[int, int], ...]:
        """Changes with what the databases hold, one pair each. One that a later snapshot replaced is opened anew."""
        for number, file in enumerate(self._files):
            if file.stat().st_ino != self._inodes[number]:
                self.databases[number].close()
                self.databases[number] = self._opened(number)
        seen = (database.execute("PRAGMA data_version").fetchone()[0] for database in self.databases)
        return tuple(zip(self._inodes, seen, strict=True))

    def close(self) -> None:
        for database in self.databases:
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

    @property
    def evaluation(self) -> bool:
        """Whether it holds the talks of an evaluation, and no corpus."""
        return "eval.kind" in self.fingerprint

    def dialogues(self, status: Status | None = None, *, forks: bool = False) -> Iterator[Dialogue]:
        """Every dialogue, in the order of its post in the input. A fork is an experiment: only with `forks`."""
        query = (
            "SELECT p.position, d.repeat, d.id, d.record_id FROM dialogues d LEFT JOIN posts p ON p.id = d.post_id"
            " WHERE (?1 IS NULL OR d.status = ?1) AND (?2 OR d.forked_from IS NULL)"
            " ORDER BY p.position, d.repeat, d.id"
        )
        return (Dialogue.model_validate_json(text) for text in self._in_order(query, (status, forks)))

    def dialogue(self, short_id: str) -> Dialogue:
        """The dialogue whose id, or post id, starts like this, or that an exported row of this id was made of.

        A post id stands for the dialogue grown from it.
        Raises NoMatch for none, UsageError for several.
        """
        rows = list(
            self._rows(
                "SELECT d.id, t.body, d.post_id FROM dialogues d JOIN texts t ON t.id = d.record_id"
                " WHERE substr(d.id, 1, ?1) = ?2 OR (substr(d.post_id, 1, ?1) = ?2 AND d.forked_from IS NULL)"
                " OR substr(?2, 1, length(d.id) + 1) = d.id || '/'",
                (len(short_id), short_id),
            )
        )
        rows = [row for row in rows if short_id in (row[0], row[2])] or rows
        if not rows:
            raise NoMatch(
                f"no dialogue of {self.folder} has an id or post id that begins with {short_id!r}",
                hint=f"psyllm trace ls {self.folder} lists them",
            )
        if len(rows) > 1:
            found = ", ".join(f"{row[0][:8]} ({row[2]})" for row in rows[:8])
            raise UsageError(
                f"{len(rows)} dialogues of {self.folder} begin with {short_id!r}: {found}{' ...' if rows[8:] else ''}",
                hint="give more of the dialogue's id, or of its post's",
            )
        return Dialogue.model_validate_json(inflate(rows[0][1]))

    def rehearsal(self) -> bool:
        """Whether any dialogue holds stand-in words."""
        return any(row[0] for row in self._rows("SELECT max(rehearsal) FROM dialogues"))

    def prompt(self, prompt_id: str) -> tuple[PromptRef, str]:
        """A prompt file as the run keeps it. Raises UsageError if it holds none of that id."""
        found = self.prompts().get(prompt_id)
        if found is None:
            raise UsageError(f"{self.folder} holds no prompt {prompt_id!r}", hint="was it made by this psyllm?")
        return found

    def prompts(self) -> dict[str, tuple[PromptRef, str]]:
        """Id -> the prompt files that the run was grown with; those that only a fork used are left out."""
        own = {str(fact).partition("#")[2] for name, fact in self.fingerprint.items() if name.startswith("prompts.")}
        rows = self._rows("SELECT p.id, p.version, p.sha256, t.body FROM prompts p JOIN texts t ON t.id = p.text_id")
        return {
            name: (PromptRef(id=name, version=version, sha256=sha256), inflate(body))
            for name, version, sha256, body in rows
            if not own or sha256 in own
        }

    def post(self, post_id: str) -> Post:
        """A post as the run took it in. Raises UsageError if it holds none of that id."""
        for row in self._rows(
            "SELECT t.body FROM posts p JOIN texts t ON t.id = p.record_id WHERE p.id = ?", (post_id,)
        ):
            return Post.model_validate_json(inflate(row[0]))
        raise UsageError(f"{self.folder} holds no post {post_id!r}", hint="was it made by this psyllm?")

    def shard_of(self, dialogue_id: str) -> int:
        """The number of the database that holds a dialogue and its calls. Raises NoMatch if none does."""
        for number, database in zip(shard_numbers(self.folder), self.databases, strict=False):
            if database.execute("SELECT 1 FROM dialogues WHERE id = ?", (dialogue_id,)).fetchone():
                return number
        raise NoMatch(f"{self.folder} holds no dialogue {dialogue_id!r}")

    def calls(self, dialogue_id: str) -> Iterator[StoredCall]:
        """A dialogue's calls in the order made."""
        return self._calls(
            "SELECT s.position, c.* FROM steps s JOIN calls c ON c.id = s.call_id"
            " WHERE s.dialogue_id = ? ORDER BY s.position",
            (dialogue_id,),
        )

    def payments(self, dialogue_ids: Iterable[str]) -> frozenset[tuple[bytes, float]]:
        """(key, unix time of its request) of these dialogues' calls: one taken over keeps the time it was paid at."""
        query = "SELECT c.key, c.started FROM steps s JOIN calls c ON c.id = s.call_id WHERE s.dialogue_id = ?"
        return frozenset((key, started) for name in dialogue_ids for key, started in self._rows(query, (name,)))

    def samples(self, call: StoredCall) -> tuple[StoredCall, ...]:
        """Every answer that was ever paid for at this place, replays and forks included, in the order made."""
        query = (
            "SELECT ? position, c.* FROM calls c, calls o"
            " WHERE o.key = ? AND c.post_id = o.post_id AND c.repeat = o.repeat AND c.path = o.path ORDER BY c.id"
        )
        return tuple(self._calls(query, (call.position, call.key)))

    def _calls(self, query: str, values: tuple[object, ...]) -> Iterator[StoredCall]:
        for database in self.databases:
            cursor = database.cursor()
            cursor.row_factory = sqlite3.Row
            for row in cursor.execute(query, values):
                yield StoredCall(
                    key=row["key"],
                    position=row["position"],
                    path=row["path"],
                    role=row["role"],
                    model_name=row["model_name"],
                    model=row["model"],
                    sample=row["sample"],
                    prompts=tuple(json.loads(row["prompts"])),
                    schema_name=row["schema_name"],
                    sampling=json.loads(row["sampling"]),
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
                    started=row["started"],
                    seconds=row["seconds"],
                    finish_reason=row["finish_reason"],
                    rehearsal=bool(row["rehearsal"]),
                )

    def statuses(self) -> dict[str, Status]:
        """Post id -> how its dialogue ended; forks are left out."""
        rows = self._rows("SELECT post_id, status FROM dialogues WHERE forked_from IS NULL")
        return {post_id: Status(status) for post_id, status in rows}

    def status_counts(self) -> dict[Status, int]:
        found = dict(self._summed(1, "SELECT status, count(*) FROM dialogues WHERE forked_from IS NULL GROUP BY 1"))
        return {status: found.get(status, 0) for status in Status}

    def post_count(self) -> int:
        return sum(row[0] for row in self._rows("SELECT count(*) FROM posts"))

    def posts(self) -> Iterator[Post]:
        """Every post whose dialogue has begun, scrubbed, in the order of the input."""
        query = "SELECT position, 0, id, record_id FROM posts WHERE record_id IS NOT NULL ORDER BY position, id"
        return (Post.model_validate_json(text) for text in self._in_order(query))

    @property
    def rules(self) -> Rules:
        """Bounds and coverage that the run was grown with."""
        own = {
            name.removeprefix("grow."): value for name, value in self.fingerprint.items() if name.startswith("grow.")
        }
        return Rules.model_validate(own)

    def wanted_shares(self) -> dict[str, float]:
        """Modality -> wanted share of the dialogues, adding up to 1."""
        kind = "prompts.modalities."
        shipped = [name.removeprefix(kind) for name in self.fingerprint if name.startswith(kind)]
        return self.rules.shares(self.rules.coverage or shipped)

    def coverage(self) -> list[Coverage]:
        """Wanted, drawn and accepted per modality, by name. Dialogues without a plan have no modality."""
        wanted = self.wanted_shares()
        drawn = dict(
            self._summed(
                1, "SELECT drawn, count(*) FROM dialogues WHERE drawn != '' AND forked_from IS NULL GROUP BY 1"
            )
        )
        rows = self._summed(
            1,
            "SELECT modality, count(*), sum(status = 'accepted'), sum(iif(status = 'accepted', rounds, 0)),"
            " sum(iif(status = 'accepted', safety_rounds, 0)) FROM dialogues"
            " WHERE modality != '' AND forked_from IS NULL GROUP BY 1",
        )
        chosen = {name: tuple(counts) for name, *counts in rows}
        return [
            Coverage(name, wanted.get(name, 0.0), drawn.get(name, 0), *chosen.get(name, (0, 0, 0, 0)))
            for name in sorted(wanted.keys() | drawn.keys() | chosen.keys())
        ]

    def accepted_by_mode(self) -> list[tuple[str, int, int]]:
        """(most urgent response mode, dialogues, accepted), most frequent first."""
        rows = self._summed(
            1,
            "SELECT mode, count(*), sum(status = 'accepted') FROM dialogues"
            " WHERE mode != '' AND forked_from IS NULL GROUP BY 1",
        )
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def reasons(self) -> list[tuple[str, str, str, int]]:
        """(status, code, blamed role, dialogues), most frequent first."""
        rows = self._summed(
            3,
            "SELECT d.status, r.code, r.role, count(DISTINCT d.id) FROM reasons r"
            " JOIN dialogues d ON d.id = r.dialogue_id WHERE d.forked_from IS NULL GROUP BY 1, 2, 3",
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

    def _in_order(self, query: str, values: tuple[object, ...] = ()) -> Iterator[str]:
        """The texts that rows of all databases point at, by position, number and id: the columns before, in which each
        database sorts its own. No position comes first."""

        def rows(database: sqlite3.Connection) -> Iterator[tuple[sqlite3.Connection, tuple[Any, ...]]]:
            return ((database, row) for row in database.execute(query, values))

        def place(found: tuple[sqlite3.Connection, tuple[Any, ...]]) -> tuple[object, ...]:
            position, *rest, _ = found[1]
            return position is not None, position or 0, *rest

        for database, row in heapq.merge(*map(rows, self.databases), key=place):
            yield self._text(database, row[3])

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        for database in self.databases:
            yield from database.execute(query, values)

    @staticmethod
    def _text(database: sqlite3.Connection, text_id: int | None) -> str:
        row = database.execute("SELECT body FROM texts WHERE id = ?", (text_id,)).fetchone()
        return inflate(row[0]) if row else ""
