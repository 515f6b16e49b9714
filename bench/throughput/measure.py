"""One measurement: a fresh server, a fresh client process, what both say of it, and what else the machine did."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.throughput.clients import PEERS, Client, Environments, Load
from bench.throughput.machine import ROOT, busy_s, tree_mib
from psyllm.errors import Failure

CHAIN = 4
"""Calls of one item of the peers, each of which needs the one before."""
_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
    "LANGSMITH_TRACING": "false",
    "TELEMETRY_ENABLED": "false",
    "NEMO_TELEMETRY_ENABLED": "false",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "OPENAI_API_KEY": "none",
}


@dataclass
class Bench:
    """What all measurements of one call have in common."""

    scratch: Path
    environments: Environments
    request_bytes: float = 11_000
    reply_bytes: float = 900
    system_bytes: int = 10_000
    whole: list[int] = field(default_factory=list)
    """Posts that were grown when the first, second, third ... dialogue of four rounds was among them."""
    running: list[subprocess.Popen[Any]] = field(default_factory=list)
    """Clients under way, for whoever must end them."""

    @property
    def posts(self) -> Path:
        return self.scratch / "posts.jsonl"

    @property
    def answers(self) -> Path:
        return self.scratch / "answers.db"

    @property
    def chains(self) -> Path:
        return self.scratch / "chains.pickle"

    def posts_for(self, dialogues: int) -> int:
        """How many posts give so many dialogues of four rounds; as many before that is known."""
        if not self.whole:
            return dialogues
        return self.whole[min(dialogues, len(self.whole)) - 1]

    def stop(self) -> None:
        """End the clients under way, with their children."""
        for process in tuple(self.running):
            _end(process)


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def serving(load: Load, reply_bytes: float, answers: Path | None) -> Iterator[str]:
    """The server in a process of its own; its address, without a path."""
    flags = [f"--latency-ms={load.latency_ms}", f"--slots={load.slots}", f"--reply-bytes={reply_bytes:.0f}"]
    flags += [f"--answers={answers}"] if answers else []
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.throughput.server", *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdin and process.stdout
    try:
        word, _, address = process.stdout.readline().partition(" ")
        if word != "READY":
            raise Failure("endpoint", f"the mock server ended with status {process.wait()}")
        yield address.strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def measure(bench: Bench, client: Client, load: Load, *, keep_run: Path | None = None) -> dict[str, Any]:
    """The figures of one run. Raises Failure with the client's last words if it does not come to its end."""
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        home = Path(folder)
        with serving(load, bench.reply_bytes, bench.answers if client.grows else None) as address:
            told, meanwhile = _ran(bench, client, load, _command(bench, client, load, address, home), home)
            with urllib.request.urlopen(f"{address}/stats", timeout=30) as reply:  # noqa: S310 (our own)
                served: dict[str, Any] = json.load(reply)
        if keep_run:
            shutil.move(home / "run", keep_run)
    calls, wall, window = max(1, served["calls"]), told["wall_s"], served["window_s"]
    ideal = max(served["slot_s"] / load.slots, told.get("chain", CHAIN) * load.latency_ms / 1000)
    others = None
    if meanwhile["busy_s"] is not None:
        others = max(0.0, meanwhile["busy_s"] - told["process_cpu_s"] - served["server_cpu_s"]) / meanwhile["span_s"]
    return {
        **told,
        **served,
        "ideal_s": ideal,
        "efficiency": ideal / wall,
        "window_efficiency": ideal / max(window, 1e-9),
        "calls_per_s": calls / wall,
        "cpu_ms_per_call": 1000 * told["cpu_s"] / calls,
        "cores": told["cpu_s"] / wall,
        "server_ms_per_call": 1000 * served["server_cpu_s"] / calls,
        "server_cores": served["server_cpu_s"] / max(window, 1e-9),
        "other_cores": others,
        "rss_mib": meanwhile["rss_mib"],
        "load_before": meanwhile["load_before"],
        "span_s": meanwhile["span_s"],
    }


def _command(bench: Bench, client: Client, load: Load, address: str, home: Path) -> list[str]:
    command = [str(bench.environments.python(client)), str(PEERS / client.script), *client.flags]
    command += [f"--concurrency={load.places}"]
    if client.grows:
        command += [f"--base-url={address}/v1", f"--posts-used={bench.posts_for(load.dialogues)}"]
        replay = client.script == "run_replay.py"
        return command + (
            [f"--chains={bench.chains}"] if replay else [f"--posts={bench.posts}", f"--run={home / 'run'}"]
        )
    plain = [f"--base-url={address}/plain/v1", f"--items={load.items}", f"--system-bytes={bench.system_bytes}"]
    return [*command, *plain]


def _ran(
    bench: Bench, client: Client, load: Load, command: list[str], home: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the client told of itself, and what the machine did meanwhile."""
    # some packages write to a home folder, and only what is theirs must be there
    env = {**os.environ, **_QUIET, "HOME": str(home), "HF_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    env["PYTHONPATH"] = "" if client.environment else str(ROOT)  # our packages have names that others have too
    load_before, busy, since = os.getloadavg()[0], busy_s(), time.perf_counter()
    with (home / "output").open("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=home, start_new_session=True
        )
        bench.running.append(process)
        peak, ended = 0.0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.5):
                peak = max(peak, tree_mib(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        patience = 120 + 5 * client.seconds(load)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            raise Failure("endpoint", f"did not end within {patience:.0f} s") from None
        finally:
            _end(process)
            ended.set()
            watcher.join()
            bench.running.remove(process)
        span = time.perf_counter() - since
        now = busy_s()
        output.seek(0)
        lines = output.read().splitlines()
    told = [line.removeprefix("RESULT ") for line in lines if line.startswith("RESULT ")]
    if not told:
        said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        raise Failure("endpoint", f"ended with status {process.returncode} and said: {said[:300]}")
    spent = None if busy is None or now is None else now - busy
    meanwhile = {"busy_s": spent, "span_s": span, "rss_mib": peak, "load_before": load_before}
    return json.loads(told[-1]), meanwhile
