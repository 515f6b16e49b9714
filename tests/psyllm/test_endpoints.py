"""One model at two addresses: calls go to both, to the one that is left, and to both again."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from psyllm import endpoints
from psyllm.calls import Caller
from psyllm.errors import Failure
from psyllm.messages import Step
from psyllm.rehearsal import RehearsalProcess
from psyllm.runs import Run
from psyllm.settings import ModelSettings
from tests.psyllm.test_calls import PROMPT, PatientReply, calling


def both(*servers: RehearsalProcess) -> ModelSettings:
    urls = tuple(server.base_url for server in servers)
    return ModelSettings(base_url=urls, model="m", sampling={}, tries=3)


async def ask(caller: Caller, posts: range) -> None:
    for n in posts:
        await caller.ask(Step("d1", f"p{n}", 0, 1, "patient", 0), PROMPT, PatientReply)


def arrived(log: Path) -> int:
    return sum(json.loads(line)["event"] == "in" for line in log.read_text(encoding="utf-8").splitlines())


async def test_calls_go_to_the_address_that_is_left_and_to_both_when_the_other_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "AGAIN_S", 0.0)
    logs = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one, two = (RehearsalProcess(fault_rate=0, log=log) for log in logs)
    settings = both(one, two)
    try:
        async with calling(tmp_path / "run", settings) as caller:
            await ask(caller, range(12))
            assert min(map(arrived, logs)) > 0, "both are used"
            assert sum(map(arrived, logs)) == 12
            two.stop()
            monkeypatch.setattr(endpoints, "AGAIN_S", 60.0)
            await ask(caller, range(12, 24))
            assert sum(map(arrived, logs)) == 24
            (line,) = caller.troubled()
            assert line == f"m: {two.base_url} cannot be reached; tried again every few seconds"
            assert caller.meter.retries == 1, "one call found it gone, and the others knew"
            two = RehearsalProcess(fault_rate=0, log=logs[1], port=urlsplit(two.base_url).port or 0)
            caller.endpoints["patient"].addresses[1].tried_again = 0.0
            before = arrived(logs[1])
            await ask(caller, range(24, 36))
            assert arrived(logs[1]) > before, "it is used again"
            assert caller.troubled() == []
    finally:
        one.stop()
        two.stop()
    with Run(tmp_path / "run") as run:
        calls = list(run.calls("d1"))
    assert len(calls) == 36 and all(call.parsed for call in calls)


async def test_a_request_that_failed_at_one_address_is_sent_to_the_other(tmp_path: Path) -> None:
    with RehearsalProcess(http_faults={"server_error": 1.0}) as ill, RehearsalProcess(fault_rate=0) as well:
        async with calling(tmp_path / "run", both(ill, well)) as caller:
            await ask(caller, range(8))
            assert 0 < caller.meter.retries < 8


async def test_an_answer_of_one_address_is_an_answer_of_the_model(tmp_path: Path) -> None:
    with RehearsalProcess(fault_rate=0) as one:
        async with calling(tmp_path / "run", both(one)) as caller:
            await ask(caller, range(4))
    with RehearsalProcess(fault_rate=0) as two, RehearsalProcess(fault_rate=0) as three:
        async with calling(tmp_path / "run", both(two, three)) as caller:
            await ask(caller, range(4))
            assert caller.meter.reused == 4


async def test_when_all_are_gone_the_run_ends(tmp_path: Path) -> None:
    settings = ModelSettings(base_url=("http://127.0.0.1:9/v1", "http://127.0.0.1:19/v1"), model="m", tries=2)
    async with calling(tmp_path / "run", settings) as caller:
        with pytest.raises(Failure, match="cannot connect") as failure:
            await ask(caller, range(1))
    assert failure.value.fatal
