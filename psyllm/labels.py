"""What people say of a run's dialogues, in RUN/labels.db: accept, reject, flag or revise, with a comment.

    labels = Labels(Path("runs/mine"))
    labels.add(Label(dialogue_id="3f2a...", verdict="reject", comment="too tidy", reviewer="AB"))
    labels.latest()["3f2a..."].verdict

Nothing is overwritten: who changes their mind adds another label. Several people may write at once (SQLite, in WAL
mode on a local disk). The journal is not touched, so a run can be labelled while it grows. Export leaves out what was
rejected last.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field

from psyllm.errors import Failure, UsageError
from psyllm.journal import connect
from psyllm.mounts import network_kind
from psyllm.records import Record

LABELS = "labels.db"
Judgement = Literal["accept", "reject", "flag", "revise"]

_TABLE = (
    "CREATE TABLE IF NOT EXISTS labels (id INTEGER PRIMARY KEY, dialogue_id TEXT NOT NULL, verdict TEXT NOT NULL,"
    " comment TEXT NOT NULL, round INTEGER NOT NULL, reviewer TEXT NOT NULL, at TEXT NOT NULL)"
)
_INSERT = (
    "INSERT INTO labels (dialogue_id, verdict, comment, round, reviewer, at)"
    " VALUES (:dialogue_id, :verdict, :comment, :round, :reviewer, :at)"
)
_SELECT = "SELECT dialogue_id, verdict, comment, round, reviewer, at FROM labels ORDER BY id"


class Label(Record):
    """One person's word on one dialogue."""

    dialogue_id: str = Field(min_length=1)
    verdict: Judgement
    """revise sends it back to the counsellor while `grow --review` waits; accept and reject end that wait."""
    comment: str = ""
    """Why; with revise, what the counsellor is to change."""
    round: int = Field(default=0, ge=0)
    """With revise, the 1-based round to redo; 0 is the last."""
    reviewer: str = ""
    """A name or initials, as the reviewer gives them; empty if none was given."""
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    """When it was said, in UTC."""


class Labels:
    """The labels of one run folder. The file is made by the first label."""

    def __init__(self, run_folder: Path) -> None:
        self.path = run_folder / LABELS

    def add(self, label: Label) -> None:
        """Keep one more label, committed when this returns. Raises Failure('store') if it cannot be written."""
        try:
            with closing(connect(self.path, wal=not network_kind(self.path.parent))) as db:
                db.execute(_TABLE)
                row = label.model_copy(update={"at": label.at.astimezone(UTC)}).model_dump(mode="json")
                db.execute(_INSERT, row)
        except sqlite3.Error as error:
            raise Failure(
                "store", f"cannot write {self.path}: {error}", hint="free some space or mend the rights"
            ) from error

    def all(self) -> Iterator[Label]:
        """Every label in the order written; none if there is no file. Raises UsageError if it is no such file."""
        if not self.path.exists():
            return
        with self._reading() as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'labels'").fetchone():
                return  # the first label is being written
            db.row_factory = sqlite3.Row
            for row in db.execute(_SELECT):
                yield Label.model_validate(dict(row))

    def latest(self) -> dict[str, Label]:
        """Dialogue id -> the label written last, whoever wrote it."""
        return {label.dialogue_id: label for label in self.all()}

    def decisions(self) -> dict[str, list[Label]]:
        """Dialogue id -> what `grow --review` goes on with, in the order said: flags are left out."""
        found: dict[str, list[Label]] = {}
        for label in self.all():
            if label.verdict != "flag":
                found.setdefault(label.dialogue_id, []).append(label)
        return found

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect(self.path, read_only=True)) as db:
                yield db
        except sqlite3.Error as error:
            raise UsageError(f"{self.path} cannot be read: {error}", hint="move it away to start new labels") from error
