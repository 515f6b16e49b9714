"""A desk: a folder with eight example posts in it, and the psyllm command run there as a user would."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from psyllm.journal import DATABASE, connect
from tests.conftest import EXAMPLES, PSYLLM, clean_environment

DEADLINE_S = 60.0
EIGHT = ("grow", "posts.jsonl", "--run", "run", "--limit", "8")

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Desk:
    folder: Path

    def psyllm(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Done:
        return subprocess.run(
            [PSYLLM, *arguments],
            cwd=self.folder,
            input=stdin,
            env=clean_environment() | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PSYLLM, *arguments],
            cwd=self.folder,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    def exported(self, run: str = "run") -> bytes:
        """The accepted dialogues of a run, as training rows."""
        name = f"{run}-rows.jsonl"
        done = self.psyllm("export", run, "--out", name, "--include-rehearsal")
        assert done.returncode == 0, done.stderr
        return (self.folder / name).read_bytes()

    def count(self, table: str, run: str = "run") -> int:
        """Committed rows of a run's journal; 0 while there is none."""
        try:
            with closing(connect(self.folder / run / DATABASE, read_only=True)) as db:
                return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 (own names)
        except sqlite3.OperationalError:
            return 0

    def dump(self, run: str = "run") -> str:
        """A run's journal as SQL: all that it holds, whatever its files look like."""
        with closing(connect(self.folder / run / DATABASE, read_only=True)) as db:
            return "\n".join(db.iterdump())


def until(process: subprocess.Popen[str], seen: Callable[[], bool]) -> None:
    """Wait until something is seen of a process that is still running."""
    deadline = time.monotonic() + DEADLINE_S
    while not seen():
        if time.monotonic() > deadline:
            process.kill()  # whoever waits for its end need not wait for ever
            raise AssertionError("not seen in time")
        try:
            code = process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"ended with {code} before it was seen: {process.stderr and process.stderr.read()}")


def desk_in(folder: Path) -> Desk:
    shutil.copy(EXAMPLES / "posts.jsonl", folder)
    return Desk(folder)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_in(tmp_path)


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Done]]:
    """A finished rehearsal run over eight posts, for reading only, and what growing it said."""
    desk = desk_in(tmp_path_factory.mktemp("grown"))
    done = desk.psyllm(*EIGHT)
    assert done.returncode == 0, done.stderr
    before = desk.dump()
    yield desk, done
    assert desk.dump() == before, "a test changed the shared run"


@pytest.fixture(scope="session")
def undisturbed(grown: tuple[Desk, Done]) -> bytes:
    """What a run of the eight posts exports."""
    return grown[0].exported()
