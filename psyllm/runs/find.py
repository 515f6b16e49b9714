"""Finding dialogues and words in a run: lists with filters, counts of reasons, full-text search.

find(index, Filter(status="rejected", role="therapist"), limit=50)
search(index, '"leave it" egg*', role="patient")
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from psyllm.errors import UsageError
from psyllm.records import Status
from psyllm.runs.index import Index

START, END = "\ue000", "\ue001"
"""What stands around the words found in a snippet; private characters, which no post holds."""


@dataclass(frozen=True)
class Filter:
    """Which dialogues; every part that is not empty must hold."""

    status: str = ""
    reason: str = ""
    modality: str = ""
    severity: str = ""
    role: str = ""
    """The role that a reason blames."""
    model: str = ""
    """A model that played any role, as its endpoint knows it."""
    prompt: str = ""
    """cbt, cbt@1.0, or the start of a prompt's hash."""
    since: float = 0.0
    """Ended at or after this unix time."""
    words: str = ""
    """Words that somebody says in it, see `search`; needs an index refreshed with words."""
    post_id: str = ""
    forks_of: str = ""
    ids: tuple[str, ...] | None = None
    """Whole ids; None for any."""


@dataclass(frozen=True)
class Listed:
    """One dialogue of a list."""

    id: str
    post_id: str
    status: str
    modality: str
    severity: str
    mode: str
    """The most urgent response mode."""
    rounds: int
    reasons: tuple[str, ...]
    """Codes, each once."""
    blamed: tuple[str, ...]
    """Roles that the reasons blame, each once."""
    forked_from: str | None
    rehearsal: bool
    ended: float
    """Unix time."""
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None if any of the calls has no price. A fork's calls include those that it shares with its parent."""
    seconds: float
    """Summed over calls."""
    retried: int
    misfits: int
    """Replies that did not fit their schema."""


@dataclass(frozen=True)
class ReasonCount:
    """How often a reason ended dialogues of one modality, made with one version of the blamed role's prompts."""

    code: str
    role: str
    modality: str
    prompts: tuple[str, ...]
    """As `therapist@1.0#0123abcd4567`; empty where no role is to blame."""
    dialogues: int
    of: int
    """Dialogues of that modality made with those prompts."""


@dataclass(frozen=True)
class Hit:
    """A place where somebody says the words."""

    dialogue_id: str
    position: int | None
    """The step, as `trace show --step` takes it; None for a post."""
    path: str
    """round/node/attempt/correction; empty for a post."""
    role: str
    """planner, patient, diagnostician, therapist, critic; or post."""
    snippet: str
    """A few words around, those found between START and END."""


def find(index: Index, wanted: Filter | None = None, *, limit: int = -1, offset: int = 0) -> tuple[Listed, ...]:
    """Dialogues in the order of their posts, a fork after its parent."""
    where, values = _where(wanted or Filter())
    rows = index.db.execute(
        "SELECT id, post_id, status, modality, severity, mode, rounds, codes, blamed, forked_from, rehearsal, ended,"
        " calls, prompt_tokens, completion_tokens, cost_usd, seconds, retried, misfits"
        f" FROM dialogues d WHERE {where} ORDER BY place, repeat, forked_from, ended, id LIMIT :limit OFFSET :offset",
        values | {"limit": limit, "offset": offset},
    )
    return tuple(_listed(row) for row in rows)


def places(index: Index, wanted: Filter | None = None) -> tuple[tuple[str, Status], ...]:
    """Id and status of everything that `find` would list, in its order."""
    where, values = _where(wanted or Filter())
    rows = index.db.execute(
        f"SELECT id, status FROM dialogues d WHERE {where} ORDER BY place, repeat, forked_from, ended, id", values
    )
    return tuple((name, Status(status)) for name, status in rows)


def count(index: Index, wanted: Filter | None = None) -> int:
    """How many dialogues `find` would list without a limit."""
    where, values = _where(wanted or Filter())
    return int(index.db.execute(f"SELECT count(*) FROM dialogues d WHERE {where}", values).fetchone()[0])


def reason_counts(index: Index, wanted: Filter | None = None) -> tuple[ReasonCount, ...]:
    """Reasons by modality and prompt version, most dialogues first, of as many the largest share first.

    Forks are experiments and not counted.
    """
    where, values = _where(wanted or Filter())
    rows = index.db.execute(
        "SELECT r.code, r.role, d.modality, r.prompts, count(DISTINCT d.id) FROM dialogues d"
        " JOIN reasons r ON r.dialogue_id = d.id"
        f" WHERE d.forked_from IS NULL AND {where} GROUP BY 1, 2, 3, 4",
        values,
    ).fetchall()
    made = index.db.execute(
        "SELECT p.role, d.modality, p.prompts, count(*) FROM prompts p JOIN dialogues d ON d.id = p.dialogue_id"
        " WHERE d.forked_from IS NULL GROUP BY 1, 2, 3"
    )
    totals = {tuple(row[:3]): int(row[3]) for row in made}
    whole: dict[str, int] = dict(
        index.db.execute("SELECT modality, count(*) FROM dialogues WHERE forked_from IS NULL GROUP BY 1").fetchall()
    )
    counts = [
        ReasonCount(
            code,
            role,
            modality,
            tuple(json.loads(prompts)),
            dialogues,
            totals.get((role, modality, prompts), whole[modality]),
        )
        for code, role, modality, prompts, dialogues in rows
    ]
    return tuple(sorted(counts, key=lambda c: (-c.dialogues, c.of, c.code, c.modality, c.prompts)))


def crossed(index: Index) -> tuple[tuple[str, str, int, int], ...]:
    """(modality, severity, dialogues, accepted) of those that were planned. Forks are not counted."""
    rows = index.db.execute(
        "SELECT modality, severity, count(*), sum(status = 'accepted') FROM dialogues"
        " WHERE modality != '' AND forked_from IS NULL GROUP BY 1, 2"
    )
    return tuple(rows.fetchall())


def modalities(index: Index) -> tuple[str, ...]:
    """Every modality that was planned, by name."""
    return tuple(
        row[0] for row in index.db.execute("SELECT DISTINCT modality FROM dialogues WHERE modality != '' ORDER BY 1")
    )


def models(index: Index) -> tuple[str, ...]:
    """Every model that played a role, by name."""
    return tuple(row[0] for row in index.db.execute("SELECT DISTINCT model FROM models ORDER BY 1"))


def search(index: Index, pattern: str, *, role: str = "", dialogue_id: str = "", limit: int = 50) -> tuple[Hit, ...]:
    """Where the words are said, latest first; refresh the index with words before.

    `pattern` is words that must all occur, "quoted phrases", and beginnings like egg*; case and accents do not matter.
    Posts and answers are searched: what a role says, its reasoning included, not the prompts it is sent.
    Raises UsageError for a pattern without a word.
    """
    match = _match(pattern, role)
    rows = index.db.execute(
        "SELECT t.id, coalesce(p.dialogue_id, d.id), p.position, coalesce(p.path, ''), t.role"
        " FROM words w JOIN texts t ON t.id = w.rowid"
        " LEFT JOIN places p ON p.shard = t.shard AND p.call_id = t.call_id"
        " LEFT JOIN dialogues d ON t.call_id IS NULL AND d.post_id = t.post_id"
        " WHERE words MATCH :match AND coalesce(p.dialogue_id, d.id) IS NOT NULL"
        " AND (:dialogue = '' OR coalesce(p.dialogue_id, d.id) = :dialogue) ORDER BY w.rowid DESC LIMIT :limit",
        {"match": match, "dialogue": dialogue_id, "limit": limit},
    ).fetchall()
    snippets = _snippets({row[0]: index.text(row[0]) for row in rows}, _match(pattern, ""))
    return tuple(Hit(row[1], row[2], row[3], row[4], snippets[row[0]]) for row in rows)


def _snippets(texts: dict[int, str], match: str) -> dict[int, str]:
    """Text id -> the words found with some around them, cut by SQLite itself in a small index in memory."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE words USING fts5 (said, tokenize = 'unicode61 remove_diacritics 2')")
        db.executemany("INSERT INTO words (rowid, said) VALUES (?, ?)", texts.items())
        rows = db.execute(
            "SELECT rowid, snippet(words, 0, ?, ?, '…', 24) FROM words WHERE words MATCH ?", (START, END, match)
        )
        return {row[0]: " ".join(row[1].split()) for row in rows}


def _match(pattern: str, role: str) -> str:
    """An FTS5 query: every part quoted, so that nothing in a pattern is an operator."""
    parts = [(phrase or word, star) for phrase, word, star in re.findall(r'"([^"]*)"|([^\s"*]+)(\*?)', pattern)]
    quoted = [f'"{text}"{" *" if star else ""}' for text, star in parts if re.search(r"\w", text)]
    if not quoted:
        raise UsageError(f"no word to search for in {pattern!r}", hint='for example: leave "on my own" egg*')
    said = f"said : ({' AND '.join(quoted)})"
    return f'role : "{role}" AND {said}' if role else said


def _where(wanted: Filter) -> tuple[str, dict[str, Any]]:
    parts, values = ["1"], dict[str, Any]()

    def add(condition: str, **named: Any) -> None:
        if any(named.values()):
            parts.append(condition)
            values.update(named)

    add("status = :status", status=wanted.status)
    add("modality = :modality", modality=wanted.modality)
    add("severity = :severity", severity=wanted.severity)
    add("ended >= :since", since=wanted.since)
    add("post_id = :post_id", post_id=wanted.post_id)
    add("forked_from = :forks_of", forks_of=wanted.forks_of)
    if wanted.ids is not None:
        values["ids"] = json.dumps(wanted.ids)
        parts.append("id IN (SELECT value FROM json_each(:ids))")
    add("id IN (SELECT dialogue_id FROM models WHERE model = :model)", model=wanted.model)
    add("id IN (SELECT dialogue_id FROM prompts WHERE instr(prompts, :prompt))", prompt=_prompt_key(wanted.prompt))
    if wanted.reason or wanted.role:
        values |= {"code": wanted.reason, "blamed": wanted.role}
        parts.append(
            "id IN (SELECT dialogue_id FROM reasons"
            " WHERE (:code = '' OR code = :code) AND (:blamed = '' OR role = :blamed))"
        )
    if wanted.words:
        values["match"] = _match(wanted.words, "")
        parts.append(
            "(id IN (SELECT p.dialogue_id FROM words w JOIN texts t ON t.id = w.rowid JOIN places p"
            " ON p.shard = t.shard AND p.call_id = t.call_id WHERE words MATCH :match) OR post_id IN"
            " (SELECT t.post_id FROM words w JOIN texts t ON t.id = w.rowid WHERE words MATCH :match"
            " AND t.call_id IS NULL))"
        )
    return " AND ".join(parts), values


def _prompt_key(prompt: str) -> str:
    """What to look for in a call's list of prompts, which is JSON like ["cbt@1.0#0123abcd4567"]."""
    if not prompt:
        return ""
    if "@" in prompt:
        return f'"{prompt}' + ("" if "#" in prompt else "#")
    return f"#{prompt}" if re.fullmatch(r"[0-9a-f]{6,12}", prompt) else f'"{prompt}@'


def _listed(row: tuple[Any, ...]) -> Listed:
    id_, post_id, status, modality, severity, mode, rounds, codes, blamed, forked_from, rehearsal, *rest = row
    return Listed(
        id_,
        post_id,
        status,
        modality,
        severity,
        mode,
        rounds,
        tuple(codes.split(",")) if codes else (),
        tuple(blamed.split(",")) if blamed else (),
        forked_from,
        bool(rehearsal),
        *rest,
    )
