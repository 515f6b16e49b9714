"""The gate: who goes first, when it narrows, how it widens again, and what that does to a server that refuses."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from psyllm.calls import Caller
from psyllm.chat import Chat, chat_model, http_session
from psyllm.endpoints import endpoint_of
from psyllm.gate import Gate
from psyllm.journal import Journal
from psyllm.messages import Step
from psyllm.records import ROLES
from psyllm.rehearsal import RehearsalProcess
from psyllm.settings import ModelSettings
from tests.psyllm.test_calls import PROMPT, PatientReply


async def told(gate: Gate, outcomes: Iterable[bool]) -> None:
    """One request after the other; True is an answer, False a refusal."""
    for good in outcomes:
        async with gate.place() as place:
            (place.answered if good else place.refused)()


async def go(gate: Gate, went: list[str], name: str, depth: int) -> None:
    async with gate.place(depth):
        went.append(name)


async def test_the_deepest_goes_first_and_those_alike_in_order() -> None:
    gate = Gate(1)
    went: list[str] = []

    async with asyncio.TaskGroup() as group, gate.place():
        for name, depth in (("plan", 0), ("first", 1), ("third", 3), ("other first", 1), ("second", 2)):
            group.create_task(go(gate, went, name, depth))
        await asyncio.sleep(0)
    assert went == ["third", "second", "first", "other first", "plan"]


async def test_at_the_end_the_shallowest_goes_first_whoever_came_before_that() -> None:
    gate = Gate(1)
    went: list[str] = []

    async with asyncio.TaskGroup() as group, gate.place():
        for name, depth in (("third", 3), ("first", 1), ("other first", 1)):
            group.create_task(go(gate, went, name, depth))
        await asyncio.sleep(0)
        gate.drain()
        gate.drain()
        group.create_task(go(gate, went, "second", 2))
        await asyncio.sleep(0)
    assert went == ["first", "other first", "second", "third"]


async def test_who_gives_up_waiting_or_breaks_inside_takes_no_place_along() -> None:
    gate = Gate(1)

    async def enter() -> None:
        async with gate.place():
            raise RuntimeError

    async with gate.place():
        tasks = [asyncio.create_task(enter()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
    tasks[1].cancel()  # it has been given its place, and has not run yet
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert [type(error) for error in ended] == [asyncio.CancelledError, asyncio.CancelledError, RuntimeError]
    await asyncio.wait_for(told(gate, [True]), 1)


async def test_a_burst_halves_it_once_and_answers_widen_it_to_what_was_set() -> None:
    gate = Gate(64)
    async with AsyncExitStack() as stack:
        places = [await stack.enter_async_context(gate.place()) for _ in range(64)]
        for place in places[:40]:
            place.refused()
    assert gate.width == 32, "all forty were sent before the cut"
    await told(gate, [True] * 32)
    assert gate.width == 32, "a place more only after as many answers as there are places"
    await told(gate, [True] * 3000)
    assert gate.width == 64


async def test_refusals_now_and_then_change_nothing() -> None:
    gate = Gate(64)
    lots = random.Random(5)
    await told(gate, (lots.random() > 0.03 for _ in range(5000)))
    assert gate.width == 64
    await told(gate, (lots.random() > 0.5 for _ in range(5000)))
    assert gate.width < 4, "half of all is no chance"


async def test_it_is_never_narrower_than_one_place() -> None:
    gate = Gate(2)
    await told(gate, [False] * 50)
    assert gate.width == 1


def entries(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


async def test_a_server_that_refuses_what_it_has_no_slot_for_is_asked_for_about_as_much_as_it_can(
    tmp_path: Path,
) -> None:
    log = tmp_path / "server.jsonl"
    journal = Journal.open(tmp_path / "run", {}, "0")
    with RehearsalProcess(slots=6, refuse=True, latency_ms=20, fault_rate=0, log=log) as server:
        settings = ModelSettings(base_url=server.base_url, model="m", sampling={})
        async with http_session() as session:
            chats: dict[str, Chat] = {server.base_url: chat_model(settings, "m", server.base_url, session)}
            endpoint = endpoint_of("m", settings, chats, 48)
            caller = Caller(journal, dict.fromkeys(ROLES, endpoint), seed=1)
            steps = (Step(f"d{n}", f"p{n}", 0, n % 4, "patient", 0) for n in range(400))

            async def one_after_the_other() -> None:
                for step in steps:
                    await caller.ask(step, PROMPT, PatientReply)

            await asyncio.gather(*(one_after_the_other() for _ in range(48)))
            (line,) = caller.troubled()
            gate = endpoint.addresses[0].gate
    journal.close()
    assert f"{server.base_url} is busy, {gate.width} of 48 places" in line
    refused = [entry["status"] == 429 for entry in entries(log) if entry["event"] == "out"]
    assert refused.count(False) == 400, "every call was answered, and once"
    settled = refused[len(refused) // 2 :]
    assert settled.count(True) / len(settled) < 0.2
    assert 2 <= gate.width <= 16
