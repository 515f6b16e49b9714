"""Killed at any moment, the same command goes on: the same dialogues, and next to nothing paid twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from psyllm.rehearsal import RehearsalProcess
from psyllm.runs import Run

ROOT = Path(__file__).resolve().parents[2]
KILLS = 10
CALLS_IN_FLIGHT = 6
REPAID = 6 * CALLS_IN_FLIGHT
"""What one kill may cost: the calls in flight, and those whose answers the journal had not committed yet. It commits
within hundredths of a second; the server takes 60 ms for a call, so these are answers of the last 0.3 s. Counted in
calls, not seconds: on a slow machine both the client and its journal are slow."""


class Log:
    """The server's own log, read as it grows: a line that is still being written waits for the next look."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[dict[str, Any]]:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def wait_for(self, requests: int, process: subprocess.Popen[bytes]) -> bool:
        """Until so many requests have come in all; False if the process ended before."""
        while sum(entry["event"] == "in" for entry in self.entries()) < requests:
            if process.poll() is not None:
                return False
            time.sleep(0.002)
        return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RehearsalProcess]:
    with RehearsalProcess(latency_ms=60, log=tmp_path / "server.jsonl") as process:
        yield process


def grow(psyllm: str, folder: Path, run: str) -> subprocess.Popen[bytes]:
    command = [
        psyllm,
        "grow",
        str(ROOT / "examples" / "posts.jsonl"),
        "--run",
        run,
        "--concurrency",
        str(CALLS_IN_FLIGHT),
    ]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr.decode()


def test_ten_kills_lose_nothing(tmp_path: Path, server: RehearsalProcess, psyllm_path: str) -> None:
    (tmp_path / "psyllm.toml").write_text(
        f'profile = "local"\n[models.local]\nbase_url = "{server.base_url}"\nmodel = "rehearsal"\n'
        '[profiles.local]\ndefault = "local"\n'
    )
    finish(grow(psyllm_path, tmp_path, "undisturbed"))
    log = Log(tmp_path / "server.jsonl")
    before = len(log.entries())
    lots = random.Random(4)
    kills: list[float] = []
    while len(kills) < KILLS:
        requests = sum(entry["event"] == "in" for entry in log.entries())
        process = grow(psyllm_path, tmp_path, "killed")
        alive = log.wait_for(requests + lots.randint(4, 60), process)
        assert alive, "the run ended before all kills were made"
        process.send_signal(signal.SIGKILL)
        kills.append(time.time())
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    finish(grow(psyllm_path, tmp_path, "killed"))

    with Run(tmp_path / "undisturbed") as one, Run(tmp_path / "killed") as other:
        expected, found = list(one.dialogues()), list(other.dialogues())
    assert len(expected) == 26
    assert found == expected

    repaid = Counter[int]()
    asked: dict[str, int] = {}
    for entry in log.entries()[before:]:
        if entry["event"] != "in":
            continue
        life, key = bisect(kills, entry["t"]), entry["key"]
        if key in asked:
            repaid[asked[key]] += 1
        asked[key] = life
    assert 0 < max(repaid.values()) <= REPAID, repaid
