"""What tests share: no network beyond loopback, a scripted endpoint in a process of its own, the psyllm command."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
PSYLLM = str(Path(sys.executable).parent / "psyllm")


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for the network fails with its address."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        if host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


@dataclass(frozen=True)
class Endpoint:
    """A scripted endpoint and the bodies it was sent."""

    base_url: str
    log: Path

    def _log(self) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def requests(self) -> list[dict[str, Any]]:
        return [entry["body"] for entry in self._log()]

    def authorizations(self) -> list[str]:
        return [entry["authorization"] for entry in self._log()]


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], Endpoint]]:
    """Start an endpoint that answers from a script; see scripted_server.py."""
    started: list[subprocess.Popen[str]] = []

    def start(script: dict[str, Any]) -> Endpoint:
        number = len(started)
        file, log = tmp_path / f"script-{number}.json", tmp_path / f"requests-{number}.jsonl"
        file.write_text(json.dumps(script), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "scripted_server.py"), str(file), str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        word, base_url = process.stdout.readline().split()
        assert word == "READY"
        return Endpoint(base_url, log)

    yield start
    for process in started:
        process.communicate()


@pytest.fixture
def psyllm_path() -> str:
    """The installed command, for tests that need the process itself."""
    return PSYLLM


Psyllm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def psyllm(tmp_path: Path) -> Psyllm:
    """Run the psyllm command in an empty folder, as a user would."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PSYLLM, *map(str, arguments)],
            cwd=tmp_path,
            env=clean_environment() | (env or {}),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def clean_environment() -> dict[str, str]:
    """The environment without keys or terminal settings of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    return kept | {"COLUMNS": "160"}
