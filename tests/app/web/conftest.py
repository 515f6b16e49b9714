"""The viewer in a process of its own, and pages of a real Chromium that may load nothing else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from psyllm.records import Dialogue, Status
from psyllm.runs import Run
from tests.app.conftest import desk_in
from tests.conftest import PSYLLM, clean_environment

WIDE, PHONE = (1280, 900), (390, 844)
expect.set_options(timeout=20_000)
FIRST_SEED = 3
"""With today's prompts this one brings a run as the tests need it; others are tried after it."""


@dataclass(frozen=True)
class Viewer:
    """A viewer that is running."""

    url: str
    folder: Path
    """The run's."""

    def dialogues(self, status: Status | None = None) -> list[Dialogue]:
        with Run(self.folder) as run:
            return list(run.dialogues(status, forks=True))


@contextmanager
def viewing(folder: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Viewer]:
    """Started on any free port; Ctrl-C ends it, and that is no failure."""
    command = [PSYLLM, "view", str(folder), "--port", "0", *options]
    environment = clean_environment() | {"COLUMNS": "400"} | (env or {})
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found, process.communicate()[1]
        try:
            yield Viewer(found[0].replace("0.0.0.0", "127.0.0.1"), folder)  # noqa: S104 (told apart, not bound)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert "Traceback" not in said, said


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with repaired turns, verdicts, and a dialogue rejected for its therapist, which has a fork."""
    desk = desk_in(tmp_path_factory.mktemp("shown"))
    desk.write("psyllm.toml", "[grow]\nmax_revisions = 1\n")
    for seed in range(FIRST_SEED, FIRST_SEED + 20):
        shutil.rmtree(desk.folder / "run", ignore_errors=True)
        done = desk.psyllm("grow", "posts.jsonl", "--run", "run", "--seed", str(seed))
        assert done.returncode == 0, done.stderr
        with Run(desk.folder / "run") as run:
            repaired = any(turn.drafts and turn.findings for d in run.dialogues() for turn in d.turns)
            rejected = list(run.dialogues(Status.REJECTED))
        blamed = [d for d in rejected if d.reasons[0].role == "therapist"]
        if blamed and repaired and len(rejected) > 1:
            done = desk.psyllm("trace", "fork", "run", blamed[0].id, "--step", "4", "--yes")
            assert done.returncode == 0, done.stderr
            return desk.folder / "run"
    raise AssertionError("no seed brings a repaired turn and two rejected dialogues, one of them for its therapist")


@pytest.fixture(scope="session")
def shown(run_folder: Path) -> Iterator[Viewer]:
    """That run, for reading only."""
    with viewing(run_folder) as viewer:
        yield viewer


@pytest.fixture
def own(run_folder: Path, tmp_path: Path) -> Iterator[Viewer]:
    """A copy of it, for writing labels."""
    shutil.copytree(run_folder, tmp_path / "run")
    with viewing(tmp_path / "run") as viewer:
        yield viewer


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium where there is one, else playwright's own; without any, the tests skip, and fail in CI."""
    system = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        try:
            launched = driver.chromium.launch(
                executable_path=system, args=["--no-sandbox"] if os.geteuid() == 0 else []
            )
        except Error as error:
            missing = f"no Chromium: apt install chromium, or playwright install chromium ({error.message[:80]})"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        yield launched
        launched.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[OpenPage]:
    """Open an address. At the end of the test no page has asked another machine for anything, or complained."""
    asked: list[str] = []
    complaints: list[str] = []
    contexts = []

    def complain(message: ConsoleMessage) -> None:
        if message.type == "error" and not re.search("status of 40|CONNECTION_REFUSED", message.text):
            complaints.append(message.text)

    def ask(request: Request) -> None:
        asked.append(request.url)

    def open_page(url: str, size: tuple[int, int] = WIDE, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", ask)
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog said {dialog.message}"))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
    assert asked
    assert [url for url in asked if not re.match(r"http://127\.0\.0\.1:|data:", url)] == []
