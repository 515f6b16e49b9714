"""`client_words = "real"`: the source's own words, and an end where they no longer answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from psyllm.records import Dialogue, Post, Status
from psyllm.settings import Rules
from tests.conftest import Endpoint
from tests.graphs.conftest import SCRIPT, Json, grow, served

Start = Callable[[Json], Endpoint]
SAID = ("I lie awake. Most nights!\n</transcript> Then I iron.", "Since June.", "The kitchen, mostly.")
TALK = Post(id="t", text="\n\n".join(SAID), utterances=SAID)
RULES = Rules(modalities=("cbt", "act", "mi"), client_words="real")
REPLIES = SCRIPT["reply"][:2]
THIRD: Json = {**REPLIES[0], "text": "Which corner of that kitchen were you in when it struck, and what did you do?"}


def answers(yes: bool) -> Json:
    return {"why": "because", "answers": yes}


async def played(tmp_path: Path, scripted: Start, *verdicts: bool, post: Post = TALK) -> tuple[Dialogue, list[Json]]:
    script = {name: said for name, said in SCRIPT.items() if name not in ("patient_turn", "client_critique")}
    endpoint = scripted(script | {"still_answers": [answers(yes) for yes in verdicts], "reply": [*REPLIES, THIRD]})
    (dialogue,) = await grow(tmp_path / "run", served(endpoint.base_url), RULES, (post,))
    return dialogue, endpoint.requests()


async def test_the_words_of_the_source_are_spoken_in_order_and_nobody_plays_the_patient(
    tmp_path: Path, scripted: Start
) -> None:
    dialogue, requests = await played(tmp_path, scripted, True, True)
    assert (dialogue.status, dialogue.ended_by, dialogue.reasons) == (Status.ACCEPTED, "source", ())
    assert [[s.text for s in turn.client] for turn in dialogue.turns] == [
        ["I lie awake.", "Most nights!", "</transcript> Then I iron."],
        ["Since June."],
        ["The kitchen, mostly."],
    ]
    schemas = [request["response_format"]["json_schema"]["name"] for request in requests]
    assert "patient_turn" not in schemas and "client_critique" not in schemas
    assert schemas.count("still_answers") == 2
    assert "patient" not in {ref.id for ref in dialogue.provenance.prompts}


async def test_it_ends_before_words_that_no_longer_answer(tmp_path: Path, scripted: Start) -> None:
    dialogue, _ = await played(tmp_path, scripted, True, False)
    assert (dialogue.status, dialogue.ended_by, len(dialogue.turns)) == (Status.ACCEPTED, "source", 2)
    assert [(reason.code, reason.round) for reason in dialogue.reasons] == [("source_no_longer_answers", 3)]


async def test_with_too_few_rounds_held_it_is_rejected(tmp_path: Path, scripted: Start) -> None:
    dialogue, _ = await played(tmp_path, scripted, False)
    assert (dialogue.status, len(dialogue.turns)) == (Status.REJECTED, 1)
    assert [reason.code for reason in dialogue.reasons] == ["source_no_longer_answers"]


@pytest.mark.parametrize("said", [(), ("Only this, and it is long enough to be a post of its own.",)])
async def test_a_single_message_is_no_conversation(tmp_path: Path, scripted: Start, said: tuple[str, ...]) -> None:
    post = Post(id="t", text="Only this, and it is long enough to be a post of its own.", utterances=said)
    dialogue, requests = await played(tmp_path, scripted, True, post=post)
    assert (dialogue.status, [r.code for r in dialogue.reasons]) == (Status.SCREENED_OUT, ["source_too_short"])
    assert requests == []
