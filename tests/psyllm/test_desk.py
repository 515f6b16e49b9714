"""The desk's files: a call written so that it can be read back exactly, and the kinds of answers taken from it."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel, Field

from psyllm.calls import Caller
from psyllm.desk import Desk, read_call, waiting_calls
from psyllm.endpoints import endpoint_of
from psyllm.errors import Failure, UsageError
from psyllm.journal import Journal
from psyllm.messages import Message, Prompt, Step
from psyllm.records import ROLES, PromptRef
from psyllm.runs import Run, StoredCall
from psyllm.settings import ModelSettings

DEADLINE_S = 20.0
T = TypeVar("T")


class PatientReply(BaseModel):
    sentences: list[str] = Field(min_length=1, max_length=12)
    ends: bool


STEP = Step(dialogue_id="d1e5" * 4, post_id="p1", repeat=0, round=1, node="patient", attempt=0)
SYSTEM = "You are the client.\r\n````text\n## user\n````\n\n## user\n\n`````\nstill the system \u2028 message\n\n---\n"
PROMPT = Prompt(
    "patient",
    (Message("system", (SYSTEM,)), Message("user", ("Speak.",))),
    (PromptRef(id="patient", version="1.0", sha256="0" * 12),),
)
GOOD = {"sentences": ["I can't sleep."], "ends": False}


@asynccontextmanager
async def at_desk(folder: Path, **settings: Any) -> AsyncIterator[Caller]:
    journal = Journal.open(folder, {}, "0")
    try:
        model = ModelSettings.model_validate({"kind": "desk", "model": "wizard-of-oz"} | settings)
        endpoint = endpoint_of("m", model, {"desk": Desk(folder)}, model.concurrency)
        yield Caller(journal, dict.fromkeys(ROLES, endpoint), seed=7)
    finally:
        journal.close()


def asked(caller: Caller, step: Step = STEP) -> asyncio.Task[tuple[PatientReply, str]]:
    return asyncio.create_task(asyncio.wait_for(caller.ask(step, PROMPT, PatientReply), DEADLINE_S))


async def seen(look: Callable[[], T]) -> T:
    """What `look` returns, once that is something."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := look()):  # noqa: ASYNC110 (the file system sets no events)
            await asyncio.sleep(0.02)
    return found


async def shows(folder: Path, pattern: str) -> Path:
    """The first file of that name, once there is one."""
    return (await seen(lambda: sorted(folder.glob(pattern))))[0]


def beside(call: Path, suffix: str) -> Path:
    return call.with_name(call.name.removesuffix(".md") + suffix)


def stored(folder: Path) -> list[StoredCall]:
    with Run(folder) as run:
        return list(run.calls(STEP.dialogue_id))


async def test_a_call_can_be_read_back_exactly_whatever_its_words_look_like(tmp_path: Path) -> None:
    async with at_desk(tmp_path) as caller:
        answer = asked(caller)
        file = await shows(tmp_path, "desk/patient/*.md")
        call = read_call(file)
        beside(file, ".answer.json").write_text(json.dumps(GOOD), encoding="utf-8")
        assert (await answer)[0].sentences == ["I can't sleep."]
    assert call.messages == (("system", SYSTEM), ("user", "Speak."))
    assert (call.role, call.step, call.model) == ("patient", "1/patient/0", "wizard-of-oz")
    assert call.schema["required"] == ["sentences", "ends"]
    (kept,) = stored(tmp_path)
    assert kept.messages == call.messages
    assert (kept.model, kept.prompt_tokens, kept.cost_usd) == ("wizard-of-oz", 0, None)
    assert sorted(f.name for f in (tmp_path / "desk").rglob("*.*")) == sorted(
        (file.name, beside(file, ".answer.json").name)
    )
    assert stat.S_IMODE((tmp_path / "desk").stat().st_mode) == 0o700


async def test_words_of_a_model_without_an_api_are_taken_as_they_are(tmp_path: Path) -> None:
    async with at_desk(tmp_path, structured="text", trace="native") as caller:
        answer = asked(caller)
        file = await shows(tmp_path, "desk/patient/*.md")
        assert '"required": ["sentences", "ends"]' in read_call(file).messages[0][1], "the schema is part of the prompt"
        beside(file, ".reasoning.md").write_text("They are tired.\n", encoding="utf-8")
        said = f"Sure, here it is:\n```json\n{json.dumps(GOOD)}\n```"
        beside(file, ".answer.md").write_text(said, encoding="utf-8")
        value, reasoning = await answer
    assert (value.sentences, reasoning) == (["I can't sleep."], "They are tired.")
    assert stored(tmp_path)[0].reply == said


async def test_an_unreadable_answer_waits_for_a_mended_one_and_a_misfit_is_sent_back(tmp_path: Path) -> None:
    async with at_desk(tmp_path) as caller:
        answer = asked(caller)
        file = await shows(tmp_path, "desk/patient/*.md")
        wrong = beside(file, ".answer.json")
        wrong.write_text('{"sentences": ["I can\'t', encoding="utf-8")
        error = await shows(tmp_path, "desk/patient/*.error.txt")
        assert wrong.name in error.read_text(encoding="utf-8")
        assert waiting_calls(tmp_path) == [file], "it waits to be mended"
        wrong.write_text('{"sentences": []}', encoding="utf-8")
        await shows(tmp_path, f"desk/done/{wrong.name}")
        again = await shows(tmp_path, "desk/patient/*.md")
        assert again != file
        assert not error.exists()
        call = read_call(again)
        assert call.correction == 1
        assert call.messages[-2] == ("assistant", '{"sentences": []}')
        assert "ends: Field required" in call.messages[-1][1]
        beside(again, ".answer.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
        assert (await answer)[0].ends is False
    assert [kept.parsed is None for kept in stored(tmp_path)] == [True, False]


async def test_many_calls_wait_and_are_answered_in_any_order(tmp_path: Path) -> None:
    steps = [Step(f"{n:016x}", f"p{n}", 0, 1, "patient", 0) for n in range(100)]
    async with at_desk(tmp_path) as caller:
        answers = [asked(caller, step) for step in steps]
        await seen(lambda: caller.meter.at_desk == 100 and len(waiting_calls(tmp_path)) == 100)
        for file in reversed(waiting_calls(tmp_path)):
            said = {"sentences": [read_call(file).dialogue], "ends": False}
            beside(file, ".answer.json").write_text(json.dumps(said), encoding="utf-8")
        async with asyncio.timeout(DEADLINE_S):
            values = await asyncio.gather(*answers)
        assert caller.meter.at_desk == 0
    assert [value.sentences[0] for value, _ in values] == [step.dialogue_id for step in steps]


async def test_an_answer_that_was_taken_but_not_recorded_is_not_lost(tmp_path: Path) -> None:
    async with at_desk(tmp_path / "one") as caller:
        answer = asked(caller)
        file = await shows(tmp_path, "one/desk/patient/*.md")
        caller.stopping.set()
        with pytest.raises(Failure, match="stopped") as failure:
            await answer
    assert failure.value.boundary == "stopped"
    assert waiting_calls(tmp_path / "one") == [file]
    killed = tmp_path / "one" / "desk" / "done" / beside(file, ".answer.json").name
    killed.write_text(json.dumps(GOOD), encoding="utf-8")
    async with at_desk(tmp_path / "one") as caller, asyncio.timeout(DEADLINE_S):
        assert (await asked(caller))[0].sentences == ["I can't sleep."]
    assert waiting_calls(tmp_path / "one") == []


async def test_a_desk_that_is_a_file_ends_the_run(tmp_path: Path) -> None:
    async with at_desk(tmp_path) as caller:
        (tmp_path / "desk").write_text("mine", encoding="utf-8")
        with pytest.raises(Failure, match="cannot use the desk") as failure:
            await asked(caller)
    assert failure.value.fatal


async def test_a_call_that_somebody_changed_is_named_and_written_again(tmp_path: Path) -> None:
    for _ in range(2):
        async with at_desk(tmp_path) as caller:
            answer = asked(caller)
            file = await shows(tmp_path, "desk/patient/*.md")
            await seen(lambda: "schema" in file.read_text(encoding="utf-8"))  # noqa: B023
            read_call(file)
            caller.stopping.set()
            with pytest.raises(Failure):
                await answer
        file.write_text("---\nrole: [\n---\n", encoding="utf-8")
        with pytest.raises(UsageError, match=f"{file.name} is no call") as error:
            read_call(file)
        assert "psyllm grow" in error.value.hint
