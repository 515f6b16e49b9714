"""Who is measured, at which loads, and where their packages live."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from psyllm.errors import Failure

PEERS = Path(__file__).resolve().parents[1] / "peers"
CALLS = 24
"""For one dialogue of four rounds, with those that end before: for guesses."""
Kind = Literal["psyllm", "bare", "library", "engine"]


@dataclass(frozen=True)
class Load:
    """What the server does, and how much is asked of it."""

    latency_ms: float
    slots: int
    dialogues: int
    """Of four rounds, by psyllm; it grows as many posts as that takes."""
    items: int
    """Of four calls each, for the peers."""
    clients: tuple[str, ...]
    beside: tuple[str, ...] = ()
    """Clients whose repeats run at the same time, each on a server of its own: they are long and need little CPU."""
    more_places: int = 0
    """Calls that a client may have in flight beyond one for each slot: the server holds them back until one is free."""

    @property
    def name(self) -> str:
        more = f", {self.places} places" if self.more_places else ""
        return f"{self.latency_ms:g} ms, {self.slots} slots{more}"

    @property
    def places(self) -> int:
        return self.slots + self.more_places


@dataclass(frozen=True)
class Client:
    name: str
    kind: Kind
    """`bare` has no framework at all; `library` is a client or graph that one builds on; `engine` a product like us."""
    about: str
    script: str
    flags: tuple[str, ...] = ()
    environment: str = ""
    """Of bench/peers/NAME.txt; '' is psyllm's own."""
    start_s: float = 3
    """Guessed, for the time left: from its start to its first request."""
    call_ms: float = 2
    """Guessed: the least wall time of a call, where the server is not what limits it."""

    @property
    def grows(self) -> bool:
        """Whether it makes psyllm's own calls."""
        return self.script in ("run_psyllm.py", "run_replay.py")

    def seconds(self, load: Load) -> float:
        """A guess at how long one measurement takes."""
        calls = load.dialogues * CALLS if self.grows else load.items * 4
        return self.start_s + 2 + calls * max(load.latency_ms / load.slots, self.call_ms) * 1.05 / 1000


CLIENTS = {
    client.name: client
    for client in (
        Client("psyllm", "psyllm", "psyllm, one process", "run_psyllm.py", (), "", 4, 2.2),
        Client("psyllm-2", "psyllm", "psyllm, two workers", "run_psyllm.py", ("--workers", "2"), "", 6, 1.3),
        Client("replay", "bare", "aiohttp, psyllm's very requests", "run_replay.py", (), "", 3, 0.4),
        Client("aiohttp", "bare", "aiohttp", "run_bare.py", ("--mode", "aiohttp"), "langgraph", 1, 0.4),
        Client("openai", "library", "openai SDK", "run_bare.py", ("--mode", "openai"), "langgraph", 2, 4),
        Client(
            "langgraph", "library", "LangGraph + ChatOpenAI", "run_langgraph.py", ("--mode", "none"), "langgraph", 3, 5
        ),
        Client(
            "langgraph-sqlite",
            "library",
            "LangGraph + ChatOpenAI + AsyncSqliteSaver",
            "run_langgraph.py",
            ("--mode", "sqlite"),
            "langgraph",
            *(3, 7),
        ),
        Client("sdg-hub", "engine", "sdg_hub", "run_sdg_hub.py", (), "sdg-hub", 8, 6),
        Client("data-designer", "engine", "NeMo Data Designer", "run_data_designer.py", (), "data-designer", 3, 7),
        Client("curator", "engine", "Bespoke Curator", "run_curator.py", (), "curator", 4, 10),
        Client("distilabel", "engine", "distilabel", "run_distilabel.py", (), "distilabel", 5, 18),
    )
}
_QUEUED = ("psyllm", "replay", "openai", "langgraph", "sdg-hub", "data-designer")
FULL = (
    Load(200, 64, 1000, 200, tuple(name for name in CLIENTS if name != "psyllm-2"), beside=("replay",)),
    Load(200, 64, 1000, 200, _QUEUED, beside=("replay",), more_places=32),
    Load(
        *(50, 256, 400, 200),
        ("psyllm", "psyllm-2", "replay", "aiohttp", "openai", "langgraph", "sdg-hub", "data-designer"),
    ),
    Load(1000, 64, 1000, 128, ("psyllm", "langgraph", "data-designer"), beside=("psyllm",)),
)
QUICK = (
    Load(200, 64, 120, 200, ("psyllm", "replay", "aiohttp", "openai", "langgraph", "sdg-hub", "data-designer")),
    Load(50, 256, 120, 200, ("psyllm", "replay", "openai", "langgraph", "sdg-hub", "data-designer")),
)


class Environments:
    """One virtual environment for each list of pins, made when it is needed first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def python(self, client: Client) -> Path:
        """Its interpreter."""
        if not client.environment:
            return Path(sys.executable)
        return self.folder / client.environment / "bin" / "python"

    def missing(self, clients: Sequence[Client]) -> list[str]:
        names = dict.fromkeys(client.environment for client in clients if client.environment)
        return [name for name in names if not self._ready(name)]

    def install(self, name: str) -> None:
        """Raises Failure with pip's last line if that cannot be done."""
        folder, pins = self.folder / name, PEERS / f"{name}.txt"
        pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--requirement", pins]
        pip += ["--quiet", "--disable-pip-version-check"]
        make: list[str | Path] = [sys.executable, "-m", "venv", folder]
        for command in (make, pip):
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode:
                said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr[-200:]]
                raise Failure("store", f"{name} could not be installed: {said[-1].strip()}")
        self._stamp(name).write_text(self._pins(name), encoding="utf-8")

    def _ready(self, name: str) -> bool:
        stamp = self._stamp(name)
        return stamp.exists() and stamp.read_text(encoding="utf-8") == self._pins(name)

    def _stamp(self, name: str) -> Path:
        return self.folder / name / "ready"

    def _pins(self, name: str) -> str:
        return hashlib.sha256((PEERS / f"{name}.txt").read_bytes()).hexdigest()
