"""A store that cannot be written or read: one message, exit 1, and the run goes on once it is mended."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from psyllm.journal import DATABASE
from tests.app.conftest import EIGHT, Desk, Done, desk_in
from tests.conftest import PSYLLM, clean_environment

TWO = (*EIGHT[:-1], "2")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A run of two posts, all in one file, for copying."""
    desk = desk_in(tmp_path_factory.mktemp("begun"))
    assert desk.psyllm(*TWO).returncode == 0
    yield desk


@pytest.fixture
def desk(begun: Desk, tmp_path: Path) -> Desk:
    shutil.copytree(begun.folder, tmp_path, dirs_exist_ok=True)
    return Desk(tmp_path)


def as_anybody(desk: Desk, *arguments: str) -> Done:
    """The command without the right to write what is read-only, which root has."""
    bounded = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*bounded, PSYLLM, *arguments],
        cwd=desk.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root writes whatever is read-only")
@pytest.mark.parametrize(("place", "mode"), [(f"run/{DATABASE}", 0o444), ("run", 0o555)])
def test_a_read_only_run_can_be_read_and_is_not_grown(desk: Desk, place: str, mode: int) -> None:
    (desk.folder / place).chmod(mode)
    try:
        done = as_anybody(desk, *EIGHT)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Traceback" not in done.stderr
        assert "cannot write" in done.stderr and "\n  -> " in done.stderr
    finally:
        (desk.folder / place).chmod(0o755)
    assert desk.psyllm(*TWO).returncode == 0, "with the rights mended it goes on"


def spoil(file: Path, table: str) -> None:
    """Overwrite every page of a table but the first, whose loss would make the file no database at all."""
    with closing(sqlite3.connect(file)) as db:
        size = db.execute("PRAGMA page_size").fetchone()[0]
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with file.open("r+b") as pages:
        pages.seek((root - 1) * size)
        pages.write(b"\xa5" * size)


@pytest.mark.parametrize("table", ["calls", "dialogues"])
def test_a_damaged_page_is_named_and_nobody_is_asked_anew_for_what_it_held(desk: Desk, table: str) -> None:
    sound = (desk.folder / "run" / DATABASE).read_bytes()
    spoil(desk.folder / "run" / DATABASE, table)
    done = desk.psyllm(*EIGHT)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert f"run/{DATABASE} is damaged" in done.stderr
    assert f"sqlite3 run/{DATABASE} .recover" in done.stderr
    for command in (("status", "run"), ("trace", "ls", "run")):
        read = desk.psyllm(*command)
        assert "Traceback" not in read.stderr, command
        assert read.returncode == 0 or "malformed" in read.stderr, command
    for file in (desk.folder / "run").glob(f"{DATABASE}*"):
        file.unlink()
    (desk.folder / "run" / DATABASE).write_bytes(sound)
    done = desk.psyllm(*TWO)
    assert done.returncode == 0 and "all 2 posts were done before" in done.stderr
