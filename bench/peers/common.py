"""The one workload of all peers: N items x plan -> patient -> therapist -> critic, and the clock around it.

Runs on Python 3.11 and the standard library alone, since each peer has an environment of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any

STEPS = ("plan", "patient", "therapist", "critic")
ASK = {
    "plan": "Plan a session for case {item}.",
    "patient": "Plan: {plan}\nSpeak as the patient of case {item}.",
    "therapist": "Plan: {plan}\nPatient: {patient}\nAnswer as the therapist.",
    "critic": "Patient: {patient}\nTherapist: {therapist}\nCritique the answer.",
}
RULE = "Stay in your role, be concrete, keep each reply brief. "


def arguments(modes: Sequence[str] = ("default",)) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--system-bytes", type=int, default=1300, help="length of every system message")
    parser.add_argument("--mode", choices=modes, default=modes[0])
    return parser.parse_args()


def system(step: str, size: int) -> str:
    """The system message of a step, of about so many bytes."""
    head = f"You are the {step} agent of a counselling dialogue. "
    return head + (RULE * (max(0, size - len(head)) // len(RULE) + 1))[: max(0, size - len(head))]


def messages(step: str, state: dict[str, Any], size: int) -> list[dict[str, str]]:
    return [{"role": "system", "content": system(step, size)}, {"role": "user", "content": ASK[step].format(**state)}]


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    mine, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


class Clock:
    """Times the run itself, without imports; `tell` prints the one line that is read."""

    def __enter__(self) -> Clock:
        self._wall, self._cpu = time.perf_counter(), cpu_s()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.wall_s, self.cpu_s = time.perf_counter() - self._wall, cpu_s() - self._cpu

    def tell(self, done: int, **more: object) -> None:
        """`done`: items that are whole."""
        line = {"wall_s": self.wall_s, "cpu_s": self.cpu_s, "process_cpu_s": cpu_s(), "done": done, **more}
        sys.stdout.write(f"\nRESULT {json.dumps(line)}\n")
        sys.stdout.flush()


Ask = Callable[[list[dict[str, str]]], Awaitable[str]]


async def all_items(given: argparse.Namespace, ask: Ask) -> None:
    """All items side by side through `ask(messages)`, calls gated; then tells the clock's line."""
    gate, done = asyncio.Semaphore(given.concurrency), 0

    async def item(number: int) -> None:
        nonlocal done
        state: dict[str, Any] = {"item": number}
        for step in STEPS:
            async with gate:
                state[step] = await ask(messages(step, state, given.system_bytes))
        done += 1

    with Clock() as clock:
        await asyncio.gather(*(item(number) for number in range(given.items)), return_exceptions=True)
    clock.tell(done)
