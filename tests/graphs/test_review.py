"""`grow --review`: the graph stops before finalise, and goes on with what people say, in the order they said it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphs.grow import Grower
from psyllm.errors import UsageError
from psyllm.labels import LABELS, Judgement, Label, Labels
from psyllm.records import Dialogue, Status
from tests.conftest import Endpoint
from tests.graphs.conftest import FIRST, POST, SCRIPT, SECOND, client, reply, reply_critique, served, table

Scripted = Callable[[dict[str, Any]], Endpoint]
GUIDANCE = "Ask about Ines before the eggs."
AGAIN = "Ines said leave it. How did she say it?"


async def reviewed(folder: Path, endpoint: Endpoint, *said: tuple[Judgement, str, int]) -> list[Dialogue]:
    """Every state in which the dialogue was kept; each label is given once it waits."""
    kept: list[Dialogue] = []
    labels, left = Labels(folder), list(said)

    def on_dialogue(dialogue: Dialogue) -> None:
        kept.append(dialogue)
        if dialogue.status is Status.IN_REVIEW and left:
            verdict, comment, number = left.pop(0)
            labels.add(Label(dialogue_id=dialogue.id, verdict=verdict, comment=comment, round=number))
        elif dialogue.status is Status.IN_REVIEW:
            grower.stop()

    async with table(folder, served(endpoint.base_url)) as (cast, caller, journal):
        grower = Grower(cast, caller, journal, (POST,), open_dialogues=1, on_dialogue=on_dialogue, reviews=labels)
        async with asyncio.timeout(30):
            await grower.run()
    return kept


def respond_prompts(endpoint: Endpoint) -> list[str]:
    bodies = endpoint.requests()
    return [str(b["messages"]) for b in bodies if b["response_format"]["json_schema"]["name"] == "reply"]


async def test_an_accepted_one_is_final_and_cost_nothing_more(tmp_path: Path, scripted: Scripted) -> None:
    endpoint = scripted(SCRIPT)
    waiting, final = await reviewed(tmp_path / "run", endpoint, ("accept", "", 0))
    assert (waiting.status, final.status) == (Status.IN_REVIEW, Status.ACCEPTED)
    assert final.turns == waiting.turns
    assert len(respond_prompts(endpoint)) == 2


async def test_a_rejected_one_keeps_why(tmp_path: Path, scripted: Scripted) -> None:
    _, final = await reviewed(tmp_path / "run", scripted(SCRIPT), ("reject", "too tidy", 0))
    assert final.status is Status.REJECTED
    assert [(reason.code, reason.detail) for reason in final.reasons] == [("rejected_by_person", "too tidy")]


async def test_one_sent_back_is_answered_anew_with_the_comment(tmp_path: Path, scripted: Scripted) -> None:
    endpoint = scripted(SCRIPT | {"reply": [*SCRIPT["reply"][:2], reply(AGAIN)]})
    first, second, final = await reviewed(tmp_path / "run", endpoint, ("revise", GUIDANCE, 0), ("accept", "better", 0))
    assert (first.status, second.status, final.status) == (Status.IN_REVIEW, Status.IN_REVIEW, Status.ACCEPTED)
    last = final.turns[-1]
    assert last.reply is not None
    assert last.reply.text == AGAIN
    assert [(draft.critique.by, draft.critique.guidance) for draft in last.drafts] == [("person", GUIDANCE)]
    assert final.turns[0] == first.turns[0]
    assert GUIDANCE in respond_prompts(endpoint)[-1]
    assert len(respond_prompts(endpoint)) == 3


async def test_an_earlier_round_sent_back_is_where_the_talk_goes_on(tmp_path: Path, scripted: Scripted) -> None:
    third = reply("What did you do with the rest of the morning?")
    spoken = [client(FIRST), client(SECOND), client("Flat, the way she says it to the children.")]
    endpoint = scripted(SCRIPT | {"patient_turn": spoken, "reply": [*SCRIPT["reply"][:2], reply(AGAIN), third]})
    first, second, final = await reviewed(tmp_path / "run", endpoint, ("revise", GUIDANCE, 1), ("accept", "", 0))
    assert [turn.reply and turn.reply.text for turn in final.turns] == [AGAIN, third["text"]]
    assert final.turns[0].client == first.turns[0].client
    assert final == second.model_copy(update={"status": Status.ACCEPTED})


async def test_what_was_said_while_nothing_ran_is_taken_up_by_the_next_start(
    tmp_path: Path, scripted: Scripted
) -> None:
    endpoint = scripted(SCRIPT | {"reply": [*SCRIPT["reply"][:2], reply(AGAIN)]})
    (waiting,) = await reviewed(tmp_path / "run", endpoint)
    labels = Labels(tmp_path / "run")
    labels.add(Label(dialogue_id=waiting.id, verdict="flag", comment="hm"))
    labels.add(Label(dialogue_id=waiting.id, verdict="revise", comment=GUIDANCE))
    labels.add(Label(dialogue_id=waiting.id, verdict="accept"))
    (final,) = await reviewed(tmp_path / "run", endpoint)
    assert final.status is Status.ACCEPTED
    assert final.turns[-1].drafts[-1].critique.guidance == GUIDANCE
    assert len(respond_prompts(endpoint)) == 3


async def test_nobody_is_asked_about_what_the_critic_rejects(tmp_path: Path, scripted: Scripted) -> None:
    rejected = SCRIPT | {"reply_critique": reply_critique("reject", "parroting")}
    (final,) = await reviewed(tmp_path / "run", scripted(rejected))
    assert final.status is Status.REJECTED


async def test_labels_that_cannot_be_read_stop_the_run_with_one_error(tmp_path: Path, scripted: Scripted) -> None:
    endpoint = scripted(SCRIPT)
    (waiting,) = await reviewed(tmp_path / "run", endpoint)
    (tmp_path / "run" / LABELS).write_text("x" * 5000)
    with pytest.raises(UsageError, match=r"labels\.db cannot be read"):
        await reviewed(tmp_path / "run", endpoint)
    (tmp_path / "run" / LABELS).unlink()
    assert await reviewed(tmp_path / "run", endpoint, ("accept", "", 0)) == [
        waiting,
        waiting.model_copy(update={"status": Status.ACCEPTED}),
    ]
