"""`psyllm merge`: several runs with the same settings as one run folder. Nothing is asked again, nothing is paid again.

Every database of every run becomes one of the new run. A post that several hold is kept where its dialogue has come
furthest; the calls of the others stay, since they were paid. Posts keep their order, those of the first run first.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from app.screen import console
from psyllm.errors import Failure, UsageError
from psyllm.journal import connect, held, shard_file, shard_numbers
from psyllm.labels import Label, Labels
from psyllm.records import Status
from psyllm.runs import Run


@dataclass(frozen=True)
class _Copy:
    """A post in one of the databases."""

    rank: int
    """How far its dialogue has come: over 3, failed or in review 2, begun 1, not begun 0."""
    number: int
    """Of the database, in the new run."""
    origin: bytes


def merge_command(runs: Sequence[Path], out: Path) -> None:
    """Write the new run. Raises UsageError for runs that do not fit together, Failure if one is being grown."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already", hint="give another --out")
    for folder in runs:
        _same(runs[0], folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        doubled = _fill(made, runs)
        made.chmod(0o755)
        made.replace(out)
    except (OSError, sqlite3.Error) as error:
        raise Failure("store", f"cannot write {out}: {error}", hint="free some space or mend the rights") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    with Run(out) as run:
        counts = run.status_counts()
        ended = ", ".join(f"{counts[status]} {status.replace('_', ' ')}" for status in Status if counts[status])
        console.print(f"{out}: {run.post_count()} posts of {len(runs)} runs; {ended or 'no dialogue has ended'}")
    if doubled:
        console.print(f"{doubled} of them in more than one run, kept once", style="yellow")
    console.print(f"next: psyllm status {out}", style="dim", soft_wrap=True)


def _same(first: Path, other: Path) -> None:
    with Run(first) as one, Run(other) as two:
        then, now = one.fingerprint, two.fingerprint
    changed = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    if changed:
        lines = [f"  {key}: {json.dumps(then.get(key))} there, {json.dumps(now.get(key))} here" for key in changed]
        raise UsageError(
            f"{other} was grown with other settings than {first}:\n" + "\n".join(lines),
            hint="a dataset may be made of both: psyllm export takes several runs",
        )


def _fill(folder: Path, runs: Sequence[Path]) -> int:
    """Copy all databases and labels, and keep each post once; returns how many were there more than once."""
    best: dict[str, _Copy] = {}
    lost: dict[int, set[str]] = {}
    labels: list[Label] = []
    number = start = 0
    for run in runs:
        end = start
        for shard in shard_numbers(run):
            with ExitStack() as stack:
                stack.enter_context(held(run, shard))
                source = stack.enter_context(closing(connect(run / shard_file(shard), read_only=True)))
                copy = stack.enter_context(closing(connect(folder / shard_file(number))))
                source.backup(copy)
                copy.execute("UPDATE posts SET position = position + ?", (start,))
                (last,) = copy.execute("SELECT coalesce(max(position), -1) FROM posts").fetchone()
                end = max(end, last + 1)
                _weigh(copy, number, best, lost)
            number += 1
        start = end
        labels += Labels(run).all()
    for number, names in lost.items():
        with closing(connect(folder / shard_file(number))) as db:
            _forget(db, names)
    said: set[Label] = set()
    for label in sorted(labels, key=lambda label: label.at):
        if label not in said:
            said.add(label)
            Labels(folder).add(label)
    return len(set().union(*lost.values())) if lost else 0


def _weigh(db: sqlite3.Connection, number: int, best: dict[str, _Copy], lost: dict[int, set[str]]) -> None:
    """Compare this database's posts with the best so far. Raises UsageError for one id with two texts."""
    rows = db.execute(
        "SELECT p.id, p.origin, CASE WHEN d.status NOT IN ('failed', 'in_review') THEN 3"
        " WHEN d.status IS NOT NULL THEN 2 ELSE p.record_id IS NOT NULL END FROM posts p"
        " LEFT JOIN (SELECT post_id, max(status) status FROM dialogues WHERE forked_from IS NULL GROUP BY 1) d"
        " ON d.post_id = p.id"
    )
    for name, origin, rank in rows:
        own, other = _Copy(rank, number, origin), best.get(name)
        if other is None:
            best[name] = own
            continue
        if other.origin != origin:
            raise UsageError(
                f"two of the runs know different posts as {name!r}", hint="grow one of them from posts with other ids"
            )
        worse = other if own.rank > other.rank else own
        best[name] = own if worse is other else other
        lost.setdefault(worse.number, set()).add(name)


def _forget(db: sqlite3.Connection, post_ids: set[str]) -> None:
    """Take posts out of a database, and their dialogues; calls stay, they were paid."""
    db.execute("CREATE TEMP TABLE lost (id TEXT PRIMARY KEY)")
    db.executemany("INSERT INTO lost VALUES (?)", [(name,) for name in post_ids])
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM steps WHERE call_id IN (SELECT id FROM calls WHERE post_id IN (SELECT id FROM lost))")
    dialogues = "SELECT id FROM dialogues WHERE post_id IN (SELECT id FROM lost)"
    db.execute(f"DELETE FROM reasons WHERE dialogue_id IN ({dialogues})")  # noqa: S608 (own names)
    db.execute("DELETE FROM dialogues WHERE post_id IN (SELECT id FROM lost)")
    db.execute("DELETE FROM posts WHERE id IN (SELECT id FROM lost)")
    db.execute("COMMIT")
