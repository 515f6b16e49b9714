"""Snapshots are whole, of one moment, and readable without WAL; readers follow one that takes another's place."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.grow import GrowOptions
from app.ray_node import Node
from app.worker import Job
from psyllm.errors import Failure, UsageError
from psyllm.journal import DATABASE, Journal, connect
from psyllm.runs import Run
from psyllm.settings import Rules, Settings
from psyllm.snapshots import Snapshots, fold_in


def test_a_snapshot_of_a_database_that_is_written(tmp_path: Path) -> None:
    local, run = tmp_path / "local", tmp_path / "run"
    journal = Journal.open(local, {"a": 1}, "0")
    snapshots = Snapshots(run.as_uri())
    assert snapshots.numbers() == []
    journal.note("profile", "first")
    journal.flush()
    snapshots.save(0, local)
    (run / f".{DATABASE}.0123abcd").write_text("half of it, from a machine that died")
    snapshots.tidy()
    assert [file.name for file in run.iterdir()] == [DATABASE], "nothing is left over"
    assert snapshots.numbers() == [0]
    with Run(run) as read:
        before = read.versions()
        assert read.versions() == before
        journal.note("profile", "second")
        journal.flush()
        snapshots.save(0, local)
        assert read.versions() != before
        found = dict(read.databases[0].execute("SELECT key, value FROM meta").fetchall())
    journal.close()
    assert found["profile"] == "second"
    assert (run / DATABASE).read_bytes()[18:20] == b"\1\1", "needs no WAL"


def test_a_copy_that_was_fetched_can_be_grown(tmp_path: Path) -> None:
    Journal.open(tmp_path / "local", {"a": 1}, "0").close()
    snapshots = Snapshots(str(tmp_path / "run"))
    snapshots.save(0, tmp_path / "local")
    (tmp_path / "other").mkdir()
    snapshots.fetch(0, tmp_path / "other")
    Journal.open(tmp_path / "other", {"a": 1}, "0").close()
    with pytest.raises(Failure, match="cannot read the snapshots"):
        snapshots.fetch(7, tmp_path / "other")
    with pytest.raises(UsageError, match="nosuch"):
        Snapshots("nosuch://bucket/run")


def test_a_database_that_somebody_reads_is_not_folded_in(tmp_path: Path) -> None:
    Journal.open(tmp_path, {"a": 1}, "0").close()
    with closing(connect(tmp_path / DATABASE)) as db, closing(connect(tmp_path / DATABASE, read_only=True)) as reader:
        db.execute("INSERT INTO meta VALUES ('b', '2')")
        reader.execute("SELECT * FROM meta").fetchall()
        with pytest.raises(Failure, match="is in use") as refused:
            fold_in(tmp_path, 0)
        assert "psyllm view" in refused.value.hint
    fold_in(tmp_path, 0)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'b'").fetchone() == ("2",)


async def test_a_last_snapshot_that_cannot_be_written_leaves_the_database_on_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: real(0))
    local, shut = tmp_path / "local", tmp_path / "shut"
    Journal.open(local, {"a": 1}, "0").close()
    shut.write_text("no folder")
    job = Job(GrowOptions([], tmp_path), Settings(), Rules(), 0, tmp_path)
    node = Node(job, str(shut / "run"), 30)
    with pytest.raises(Failure, match="the database is kept there in") as failed:
        await node._save_the_last(local)
    assert str(tmp_path / "kept-local") in str(failed.value)
    assert (tmp_path / "kept-local" / DATABASE).exists() and not local.exists()
