"""A run's databases as whole copies, in a folder on shared or object storage (any URL that fsspec knows).

    snapshots = Snapshots("s3://corpus/runs/big")
    snapshots.save(3, Path("/tmp/local"))        # while it is being written, or not
    snapshots.fetch(3, Path("/tmp/other"))

A copy is one moment of its database, is there as a whole or not at all, and needs no WAL to be read.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import uuid
from contextlib import closing, suppress
from pathlib import Path

import fsspec

from psyllm.errors import Failure, UsageError
from psyllm.journal import connect, shard_file


class Snapshots:
    """The snapshots of one run."""

    def __init__(self, url: str) -> None:
        """Raises UsageError for a kind of storage that is not known or not installed."""
        self.url = url if "://" in url else str(Path(url).absolute())
        self._fetched: dict[Path, str] = {}
        """A copy in a local folder -> what the snapshot was then."""
        self._one_at_a_time = threading.Lock()
        try:
            self._storage, self._folder = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{url}: {error}", hint="for example s3://bucket/run, with s3fs installed") from error

    def numbers(self) -> list[int]:
        """The databases that are there, lowest first. Raises Failure('store') if the storage does not answer."""
        try:
            self._storage.invalidate_cache()
            names = self._storage.ls(self._folder, detail=False) if self._storage.exists(self._folder) else []
        except Exception as error:  # each kind of storage has its own
            raise self._failure("read", error) from error
        found = (re.search(r"(?:^|/)journal-(\d+)\.db$", str(name)) for name in names)
        return sorted(int(match[1]) for match in found if match)

    def fetch(self, shard: int, folder: Path) -> None:
        """Copy one into a local folder, in place of what is there, unless this did so before and it has not changed.

        Raises Failure('store') if that cannot be done.
        """
        name = shard_file(shard)
        try:
            with self._one_at_a_time:
                version = self._storage.ukey(f"{self._folder}/{name}")
                if self._fetched.get(folder / name) != version:
                    half = folder / f".{name}.half"
                    self._storage.get_file(f"{self._folder}/{name}", str(half))
                    half.replace(folder / name)
                    self._fetched[folder / name] = version
        except Exception as error:  # each kind of storage has its own
            raise self._failure("read", error) from error

    def save(self, shard: int, folder: Path) -> None:
        """Put a copy of a local database there, as it is now. Raises Failure('store') if that cannot be done."""
        with self._one_at_a_time:  # so that an older copy never follows a newer one
            try:
                self._save(shard_file(shard), folder)
            except Exception as error:  # each kind of storage has its own
                raise self._failure("write", error) from error

    def _save(self, name: str, folder: Path) -> None:
        copy = folder / f".{name}.copy"
        half = f"{self._folder}/.{name}.{uuid.uuid4().hex[:8]}"
        try:
            with closing(connect(folder / name, read_only=True)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode=DELETE")
            self._storage.makedirs(self._folder, exist_ok=True)
            self._storage.put_file(str(copy), half)
            self._storage.mv(half, f"{self._folder}/{name}")
        except BaseException:
            with suppress(Exception):
                self._storage.rm(half)
            raise
        finally:
            copy.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what lost machines have left half written. Nobody may be saving."""
        try:
            for name in self._storage.ls(self._folder, detail=False) if self._storage.exists(self._folder) else []:
                if re.search(r"/\.journal-\d+\.db\.[0-9a-f]{8}$", str(name)):
                    self._storage.rm(name)
        except Exception as error:  # each kind of storage has its own
            raise self._failure("write", error) from error

    def _failure(self, what: str, error: Exception) -> Failure:
        hint = "is the storage there, with room and rights, from every machine? the same command goes on"
        return Failure("store", f"cannot {what} the snapshots in {self.url}: {error}", hint=hint, fatal=True)


def fold_in(folder: Path, shard: int) -> None:
    """Take in the WAL of a database that a process grew here, so that a snapshot may take its place.

    Raises Failure('store') if somebody has it open.
    """
    file = folder / shard_file(shard)
    if not file.with_name(f"{file.name}-wal").exists():
        return
    try:
        with closing(sqlite3.connect(file, timeout=2)) as db:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")  # needs no shared memory
            db.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        hint = "end what reads it (`psyllm view`, `psyllm trace tail`), then run the same command"
        raise Failure("store", f"{file} is in use: {error}", hint=hint) from error
