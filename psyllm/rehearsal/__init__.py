"""The rehearsal: a local server that speaks the OpenAI chat API and plays every role by rule, without any model.

It is for trying the software and for tests; its words are stand-ins and never training data. It knows only the
request it is sent, and plants faults on purpose (faults.yaml).

    with RehearsalProcess(seed=1) as rehearsal:
        ...  # rehearsal.base_url is 'http://127.0.0.1:PORT/v1'
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from psyllm.errors import Failure

_STOP_S = 5.0


class RehearsalProcess:
    """A server in a process of its own, which ends with this one, however this one ends."""

    def __init__(
        self,
        *,
        port: int = 0,
        seed: int = 0,
        log: Path | None = None,
        latency_ms: float = 0.0,
        slots: int = 64,
        refuse: bool = False,
        fault_rate: float = 0.04,
        http_faults: Mapping[str, float] | None = None,
        http_fault_tries: int | None = None,
        native_trace: bool = False,
    ) -> None:
        """Start the server and wait until it listens. Raises Failure('endpoint') if it ends before that."""
        flags = [f"--port={port}", f"--seed={seed}", f"--latency-ms={latency_ms}", f"--slots={slots}"]
        flags += [f"--fault-rate={fault_rate}"]
        flags += [f"--http-fault={name}={rate}" for name, rate in (http_faults or {}).items()]
        flags += [f"--log={log.absolute()}"] if log else []
        flags += [f"--http-fault-tries={http_fault_tries}"] if http_fault_tries is not None else []
        flags += ["--native-trace"] if native_trace else []
        flags += ["--refuse"] if refuse else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "psyllm.rehearsal", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which may still need answers to stop in order
            cwd=Path(__file__).parents[2],
        )
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line.startswith("READY "):
            self.stop()
            raise Failure(
                "endpoint",
                f"the rehearsal server ended with status {self.process.returncode} before it listened",
                hint=f"run `python -m psyllm.rehearsal {' '.join(flags)}` to see why",
                fatal=True,
            )
        self.base_url = line.split()[1]
        """Ends in /v1."""

    def stop(self) -> None:
        """End the server; harmless when it has ended."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()
        try:
            self.process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> RehearsalProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
