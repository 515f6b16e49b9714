"""One call against real server processes: retries, corrections, reuse, the reasoning channel, keys."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from psyllm.calls import Caller
from psyllm.chat import chat_model, http_session
from psyllm.endpoints import endpoint_of
from psyllm.errors import Failure
from psyllm.journal import DATABASE, Journal
from psyllm.messages import Message, Prompt, Step
from psyllm.records import ROLES, PromptRef
from psyllm.rehearsal import RehearsalProcess
from psyllm.runs import Run, StoredCall
from psyllm.settings import ModelSettings, Price


class PatientReply(BaseModel):
    model_config = ConfigDict(title="patient_turn")

    sentences: list[str] = Field(min_length=1, max_length=12)
    ends: bool


GOOD = {"sentences": ["I can't sleep."], "ends": False}
STEP = Step(dialogue_id="d1", post_id="p1", repeat=0, round=1, node="patient", attempt=0)
REF = PromptRef(id="patient", version="1.0", sha256="0" * 12)
PROMPT = Prompt(
    "patient",
    (
        Message("system", ("You are the client.",)),
        Message("user", ("<client>\nhistory: I can't sleep since May.\n</client>", "Speak.")),
    ),
    (REF,),
)


def model(base_url: str, **changes: Any) -> ModelSettings:
    given: dict[str, Any] = {"model": "m-1", "sampling": {"temperature": 0.5}, "tries": 3, "timeout_s": 30}
    return ModelSettings(base_url=base_url, **(given | changes))


@asynccontextmanager
async def calling(folder: Path, settings: ModelSettings) -> AsyncIterator[Caller]:
    journal = Journal.open(folder, {}, "0")
    try:
        async with http_session() as session:
            chats = {url: chat_model(settings, "m", url, session) for url in settings.base_urls}
            endpoint = endpoint_of("m", settings, chats, 4)
            yield Caller(journal, dict.fromkeys(ROLES, endpoint), seed=7)
    finally:
        journal.close()


def stored(folder: Path) -> list[StoredCall]:
    with Run(folder) as run:
        return list(run.calls("d1"))


@pytest.mark.parametrize(
    "fault",
    [
        "rate_limit",
        "rate_limit_bare",
        "unavailable",
        "server_error",
        "bad_json",
        "truncate",
        "disconnect",
        "empty",
        "enormous",
        "hang",
        "drip",
    ],
)
async def test_a_transport_fault_is_retried_and_written_down(tmp_path: Path, fault: str) -> None:
    faults = {fault: 1.0}
    log = tmp_path / "server.jsonl"
    with RehearsalProcess(http_faults=faults, http_fault_tries=1, fault_rate=0, log=log) as server:
        settings = model(server.base_url, timeout_s=1 if fault in ("hang", "drip") else 30)
        async with calling(tmp_path / "run", settings) as caller:
            answer, _ = await caller.ask(STEP, PROMPT, PatientReply)
    assert answer.sentences
    (call,) = stored(tmp_path / "run")
    assert len(call.retries) == 1
    arrived = [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "in"]
    assert len(arrived) == 2


async def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    with RehearsalProcess(http_faults={"rate_limit": 1.0}, http_fault_tries=1, fault_rate=0) as server:
        async with calling(tmp_path / "run", model(server.base_url)) as caller:
            started = time.monotonic()
            await caller.ask(STEP, PROMPT, PatientReply)
    assert time.monotonic() - started >= 1.0, "the rehearsal server asks for one second"


async def test_a_fault_that_stays_fails_the_call_which_is_written_down_and_never_reused(tmp_path: Path) -> None:
    with RehearsalProcess(http_faults={"server_error": 1.0}) as server:
        async with calling(tmp_path / "run", model(server.base_url)) as caller:
            with pytest.raises(Failure, match="3 tries") as failure:
                await caller.ask(STEP, PROMPT, PatientReply)
    assert (failure.value.boundary, failure.value.fatal) == ("endpoint", False)
    (call,) = stored(tmp_path / "run")
    assert (call.parsed, len(call.retries), "3 tries" in call.error) == (None, 3, True)
    with RehearsalProcess(fault_rate=0) as server:
        async with calling(tmp_path / "run", model(server.base_url)) as caller:
            await caller.ask(STEP, PROMPT, PatientReply)
    (call,) = stored(tmp_path / "run")
    assert call.parsed, "the answer takes the failed call's place in the dialogue"


async def test_a_refused_key_ends_the_run_at_once(tmp_path: Path) -> None:
    log = tmp_path / "server.jsonl"
    with RehearsalProcess(http_faults={"unauthorized": 1.0}, log=log) as server:
        async with calling(tmp_path / "run", model(server.base_url)) as caller:
            with pytest.raises(Failure, match="refused the API key") as failure:
                await caller.ask(STEP, PROMPT, PatientReply)
    assert failure.value.fatal
    assert log.read_text().count('"in"') == 1


async def test_an_endpoint_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    async with calling(tmp_path / "run", model("http://127.0.0.1:9/v1", tries=2)) as caller:
        with pytest.raises(Failure, match="cannot connect") as failure:
            await caller.ask(STEP, PROMPT, PatientReply)
    assert failure.value.fatal


Start = Callable[[dict[str, Any]], Any]


async def test_an_answer_that_does_not_fit_is_sent_back_with_the_error(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted({"patient_turn": [{"sentences": []}, {"$raw": "I would rather talk."}, GOOD]})
    async with calling(tmp_path / "run", model(endpoint.base_url)) as caller:
        answer, _ = await caller.ask(STEP, PROMPT, PatientReply)
    assert answer.sentences == ["I can't sleep."]
    first, second, third = endpoint.requests()
    assert [len(r["messages"]) for r in (first, second, third)] == [2, 4, 6]
    assert second["messages"][2] == {"role": "assistant", "content": '{"sentences": []}'}
    assert "sentences: List should have at least 1 item" in second["messages"][3]["content"]
    assert "ends: Field required" in second["messages"][3]["content"]
    calls = stored(tmp_path / "run")
    assert [call.parsed is None for call in calls] == [True, True, False]
    assert "does not fit" in calls[0].error


async def test_it_is_sent_back_at_most_twice(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted({"patient_turn": {"$raw": "no"}})
    async with calling(tmp_path / "run", model(endpoint.base_url)) as caller:
        with pytest.raises(Failure) as failure:
            await caller.ask(STEP, PROMPT, PatientReply)
    assert failure.value.boundary == "schema"
    assert len(endpoint.requests()) == 3


async def test_a_cut_answer_is_asked_for_again_shorter(tmp_path: Path) -> None:
    with RehearsalProcess(http_faults={"length": 1.0}, http_fault_tries=1, fault_rate=0) as server:
        async with calling(tmp_path / "run", model(server.base_url)) as caller:
            with pytest.raises(Failure, match="cut off"):
                await caller.ask(STEP, PROMPT, PatientReply)


async def test_a_refusal_is_kept_and_the_model_is_asked_again(tmp_path: Path) -> None:
    with RehearsalProcess(http_faults={"refusal": 1.0}, fault_rate=0) as server:
        async with calling(tmp_path / "run", model(server.base_url)) as caller:
            with pytest.raises(Failure) as failure:
                await caller.ask(STEP, PROMPT, PatientReply)
    assert (failure.value.boundary, failure.value.fatal) == ("schema", False)
    assert [call.reply for call in stored(tmp_path / "run")] == ["I can't help with that."] * 3


async def test_a_clock_that_is_set_back_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = iter(range(1000, 0, -1))
    monkeypatch.setattr(time, "time", lambda: next(hours) * 3600.0)
    with RehearsalProcess(http_faults={"rate_limit_bare": 1.0}, http_fault_tries=1, fault_rate=0) as server:
        for _ in range(2):
            async with calling(tmp_path / "run", model(server.base_url)) as caller:
                await caller.ask(STEP, PROMPT, PatientReply)
    assert caller.meter.reused == 1, "the answer is found whatever the time is"
    (call,) = stored(tmp_path / "run")
    assert 0 <= call.seconds < 60


async def test_a_finished_call_is_never_paid_again(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted({"patient_turn": [{"$raw": "no"}, GOOD]})
    settings = model(endpoint.base_url)
    for _ in range(2):
        async with calling(tmp_path / "run", settings) as caller:
            answer, _ = await caller.ask(STEP, PROMPT, PatientReply)
            assert answer.sentences == ["I can't sleep."]
    assert len(endpoint.requests()) == 2
    assert caller.meter.reused == 2
    assert len(stored(tmp_path / "run")) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"sampling": {"temperature": 0.6}}},
        {"settings": {"model": "m-2"}},
        {"settings": {"structured": "json_object"}},
        {"step": {"post_id": "p2"}},
        {"step": {"repeat": 1}},
        {"step": {"attempt": 1}},
        {"step": {"round": 2}},
    ],
)
async def test_what_makes_a_call_another_call(tmp_path: Path, scripted: Start, change: dict[str, Any]) -> None:
    endpoint = scripted({"patient_turn": GOOD, "plain": GOOD})
    async with calling(tmp_path / "run", model(endpoint.base_url)) as caller:
        await caller.ask(STEP, PROMPT, PatientReply)
    step = Step(**{**{name: getattr(STEP, name) for name in Step.__slots__}, **change.get("step", {})})
    async with calling(tmp_path / "run", model(endpoint.base_url, **change.get("settings", {}))) as caller:
        await caller.ask(step, PROMPT, PatientReply)
    assert len(endpoint.requests()) == 2


async def test_dialogue_endpoint_and_price_do_not_make_it_another_call(tmp_path: Path, scripted: Start) -> None:
    first, second = scripted({"patient_turn": GOOD}), scripted({"patient_turn": GOOD})
    async with calling(tmp_path / "run", model(first.base_url)) as caller:
        await caller.ask(STEP, PROMPT, PatientReply)
    fork = Step("fork", STEP.post_id, STEP.repeat, STEP.round, STEP.node, STEP.attempt)
    async with calling(tmp_path / "run", model(second.base_url, price=Price(input=1, output=1))) as caller:
        await caller.ask(fork, PROMPT, PatientReply)
    assert second.requests() == []


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_the_reasoning_channel_is_kept(tmp_path: Path, scripted: Start, field: str) -> None:
    endpoint = scripted({"patient_turn": GOOD | {f"${field}": "She asks about sleep."}})
    async with calling(tmp_path / "run", model(endpoint.base_url)) as caller:
        _, reasoning = await caller.ask(STEP, PROMPT, PatientReply)
    assert reasoning == "She asks about sleep."
    assert stored(tmp_path / "run")[0].reasoning == "She asks about sleep."


@pytest.mark.parametrize("mode", ["json_object", "text"])
async def test_without_server_side_schemas_the_schema_is_in_the_words(
    tmp_path: Path, scripted: Start, mode: str
) -> None:
    endpoint = scripted({"plain": {"$raw": f"Here it is:\n```json\n{json.dumps(GOOD)}\n```"}})
    async with calling(tmp_path / "run", model(endpoint.base_url, structured=mode)) as caller:
        answer, _ = await caller.ask(STEP, PROMPT, PatientReply)
    assert answer.sentences == ["I can't sleep."]
    (request,) = endpoint.requests()
    assert '"maxItems": 12' in request["messages"][0]["content"]
    assert request.get("response_format") == ({"type": "json_object"} if mode == "json_object" else None)


async def test_sampling_is_sent_as_written_with_a_seed_of_its_own(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted({"patient_turn": GOOD})
    settings = model(endpoint.base_url, sampling={"temperature": 0.25, "max_tokens": 77, "top_k": 5})
    async with calling(tmp_path / "run", settings) as caller:
        await caller.ask(STEP, PROMPT, PatientReply)
    (body,) = endpoint.requests()
    assert (body["temperature"], body["max_tokens"], body["top_k"]) == (0.25, 77, 5)
    assert isinstance(body["seed"], int)
    assert "max_completion_tokens" not in body


async def test_tokens_and_cost_are_counted(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted({"patient_turn": GOOD})
    price = Price(input=2.0, cached=0.5, output=8.0)
    async with calling(tmp_path / "run", model(endpoint.base_url, price=price)) as caller:
        await caller.ask(STEP, PROMPT, PatientReply)
    (call,) = stored(tmp_path / "run")
    assert (call.prompt_tokens, call.cached_tokens, call.completion_tokens) == (100, 64, 10)
    assert call.cost_usd == pytest.approx((36 * 2.0 + 64 * 0.5 + 10 * 8.0) / 1e6)


async def test_a_key_reaches_the_endpoint_and_nothing_else(
    tmp_path: Path, scripted: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_API_KEY", "sk-very-secret")
    endpoint = scripted({"patient_turn": GOOD})
    async with calling(tmp_path / "run", model(endpoint.base_url, api_key_env="TEST_API_KEY")) as caller:
        await caller.ask(STEP, PROMPT, PatientReply)
        assert "sk-very-secret" not in repr(caller.endpoints["patient"])
    assert endpoint.authorizations() == ["Bearer sk-very-secret"]
    for file in (tmp_path / "run").iterdir():
        assert b"sk-very-secret" not in file.read_bytes(), file
    assert DATABASE in {file.name for file in (tmp_path / "run").iterdir()}


async def test_half_a_character_is_a_malformed_body_and_kills_nothing(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted({"patient_turn": [GOOD | {"$reasoning": "cut \ud83d"}, GOOD]})
    async with calling(tmp_path / "run", model(endpoint.base_url)) as caller:
        answer, _ = await caller.ask(STEP, PROMPT, PatientReply)
        assert answer.sentences
    (call,) = stored(tmp_path / "run")
    assert "malformed" in call.retries[0]


async def test_the_rehearsal_backend_is_known_however_it_is_reached(tmp_path: Path) -> None:
    for _ in range(2):
        with RehearsalProcess(fault_rate=0) as server:
            async with calling(tmp_path / "run", model(server.base_url)) as caller:
                assert not caller.rehearsed("d1")
                await caller.ask(STEP, PROMPT, PatientReply)
                assert caller.rehearsed("d1"), "also when the answer comes from the journal"


async def test_a_replay_is_a_new_call(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted({"patient_turn": GOOD})
    async with calling(tmp_path / "run", model(endpoint.base_url)) as caller:
        await caller.ask(STEP, PROMPT, PatientReply)
        replay = Caller(caller.journal, caller.endpoints, seed=7, sample=1)
        await replay.ask(STEP, PROMPT, PatientReply)
    assert len(endpoint.requests()) == 2


WORDS = sum(len(message.text) for message in PROMPT.messages) // 3


@pytest.mark.parametrize(("room", "sent"), [(0, 1), (-1, 0)])
async def test_a_call_that_cannot_fit_the_model_is_not_sent(
    tmp_path: Path, scripted: Start, room: int, sent: int
) -> None:
    endpoint = scripted({"patient_turn": GOOD})
    settings = model(endpoint.base_url, context=2000, sampling={"max_tokens": 2000 - WORDS - room})
    async with calling(tmp_path / "run", settings) as caller:
        if sent:
            await caller.ask(STEP, PROMPT, PatientReply)
        else:
            with pytest.raises(Failure, match=rf"patient at 1/patient/0: about {WORDS} tokens .* of 2000") as failure:
                await caller.ask(STEP, PROMPT, PatientReply)
            assert (failure.value.boundary, failure.value.fatal) == ("budget", False)
    assert len(endpoint.requests()) == sent


async def test_corrections_count_towards_the_budget(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted({"patient_turn": {"$raw": "no " * 3000}})
    async with calling(tmp_path / "run", model(endpoint.base_url, context=3000)) as caller:
        with pytest.raises(Failure, match="do not fit"):
            await caller.ask(STEP, PROMPT, PatientReply)
    assert len(endpoint.requests()) == 1
