"""A run on an endpoint that fails in every way that can be retried ends with the dialogues of an undisturbed one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from graphs.grow import Grower
from psyllm import endpoints
from psyllm.records import Dialogue, Status
from psyllm.rehearsal import RehearsalProcess
from psyllm.runs import Run
from psyllm.settings import Rules
from tests.graphs.conftest import POST, grow, served, table

SHORT = Rules(min_rounds=1, max_rounds=1)
POSTS = [POST.model_copy(update={"id": f"p{n}"}) for n in range(8)]
STORMS = {
    "429 with Retry-After": {"rate_limit": 0.3},
    "429 without": {"rate_limit_bare": 0.5},
    "5xx": {"server_error": 0.25, "unavailable": 0.25},
    "broken bodies": {"disconnect": 0.1, "truncate": 0.1, "bad_json": 0.1, "empty": 0.1},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dialogue]:
    async def grown() -> list[Dialogue]:
        with RehearsalProcess() as server:
            folder = tmp_path_factory.mktemp("sound") / "run"
            return await grow(folder, served(server.base_url, send_seed=True), SHORT, POSTS, 8)

    return {dialogue.id: dialogue for dialogue in asyncio.run(grown())}


def answers(log: Path) -> list[dict[str, Any]]:
    """The server's log of what it answered."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [entry for entry in entries if entry["event"] == "out"]


@pytest.mark.parametrize("storm", STORMS)
async def test_a_storm_changes_no_dialogue_loses_none_and_pays_no_answer_twice(
    tmp_path: Path, undisturbed: dict[str, Dialogue], storm: str
) -> None:
    log = tmp_path / "server.jsonl"
    with RehearsalProcess(http_faults=STORMS[storm], http_fault_tries=1, log=log) as server:
        model = served(server.base_url, send_seed=True, tries=8)
        grown = await grow(tmp_path / "run", model, SHORT, POSTS, 8)
    assert {dialogue.id: dialogue for dialogue in grown} == undisturbed
    ended = answers(log)
    whole = [entry for entry in ended if entry["status"] == 200 and not {"bad_json", "empty"} & {*entry["planted"]}]
    answered = Counter(entry["key"] for entry in whole)
    assert set(answered.values()) == {1}
    with Run(tmp_path / "run") as run:
        retried = sum(spend.retried for spend in run.spend())
    assert retried == len(ended) - len(answered) > 5


async def test_an_endpoint_that_is_dead_for_a_while_costs_no_dialogue(
    tmp_path: Path, undisturbed: dict[str, Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = RehearsalProcess(port=port, latency_ms=30)
    under_way, gone = asyncio.Event(), asyncio.Event()
    lost = Counter[str]()
    found_gone = endpoints.Address.lost

    def counted(address: endpoints.Address) -> None:
        lost[address.base_url] += 1
        if lost.total() == 16:
            gone.set()
        found_gone(address)

    monkeypatch.setattr(endpoints.Address, "lost", counted)
    grown: list[Dialogue] = []
    try:
        async with table(tmp_path / "run", served(server.base_url, send_seed=True, tries=8), SHORT) as seats:
            cast, caller, journal = seats
            caller.on_answer = lambda: under_way.set() if caller.meter.calls >= 20 else None
            grower = Grower(cast, caller, journal, POSTS, open_dialogues=8, on_dialogue=grown.append)
            running = asyncio.create_task(grower.run())
            await under_way.wait()
            server.stop()
            await gone.wait()
            assert "cannot be reached" in caller.troubled()[0]
            server = RehearsalProcess(port=port)
            await running
            assert caller.troubled() == []
    finally:
        server.stop()
    assert {dialogue.id: dialogue for dialogue in grown} == undisturbed


async def test_an_endpoint_that_breaks_for_good_stops_the_run_which_then_goes_on(
    tmp_path: Path, undisturbed: dict[str, Dialogue]
) -> None:
    with RehearsalProcess(http_faults={"server_error": 1.0}) as server:
        failed = await grow(tmp_path / "run", served(server.base_url, send_seed=True, tries=2), SHORT, POSTS, 8)
    assert {dialogue.status for dialogue in failed} == {Status.FAILED}
    with RehearsalProcess() as server:
        model = served(server.base_url, send_seed=True)
        grown = await grow(tmp_path / "run", model, SHORT, POSTS, 8, total=len(POSTS))
    assert {dialogue.id: dialogue for dialogue in grown} == undisturbed
