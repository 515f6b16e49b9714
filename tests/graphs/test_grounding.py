"""The second reader: what it does not confirm is dropped, and what it may and may not do to a raised danger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from psyllm.records import Dialogue, Risk, Turn
from tests.conftest import Endpoint
from tests.graphs.conftest import FIRST, SCRIPT, SECOND, Json, client, diagnosis, evidence_check, grow, reply, served

Start = Callable[[Json], Endpoint]
AWAKE = {"criterion": "mdd.A4", "sentence": 1, "polarity": "asserts"}
WORTHLESS = {"criterion": "mdd.A7", "sentence": 2, "polarity": "asserts"}
NIGHTLY = {"fact": "most_days", "value": True, "sentence": 3, "disorder": "mdd"}
WORDS = (
    "I cry and I stare at the ceiling until four.",
    "Ines must think I am worthless.",
    "It is like this every night.",
)
PRINTER = "If the printer jams once more I will kill myself in front of the whole class."
JOKE = {"domain": "suicide", "sentence": 1, "kind": "dark_joke", "quote": "If the printer jams once more"}
DIRECT = reply(
    "A printer, and killing yourself, in one breath. {crisis_contacts} is there today. Which of the two was it?",
    technique="guided_discovery",
)
ASKED = reply("A printer, and killing yourself, in one breath. Is there a part of it that was meant?")
SAFE = reply(
    "A printer, and killing yourself, in one breath. I can't see you; {crisis_contacts} is there today. Are you safe?",
    technique="safety_protocol",
)


async def play(folder: Path, scripted: Start, **changes: Any) -> tuple[Dialogue, list[str]]:
    """The dialogue, and what the second reader was sent."""
    endpoint = scripted(SCRIPT | changes)
    (dialogue,) = await grow(folder / "run", served(endpoint.base_url))
    asked = [r for r in endpoint.requests() if r["response_format"]["json_schema"]["name"] == "evidence_check"]
    return dialogue, [request["messages"][-1]["content"] for request in asked]


def suicide(turn: Turn) -> Risk:
    return next(risk for risk in turn.risks if risk.domain == "suicide")


# ---------------------------------------------------------------- evidence


async def test_what_it_does_not_confirm_is_dropped_and_does_not_count(tmp_path: Path, scripted: Start) -> None:
    proposed = diagnosis(evidence=[AWAKE, WORTHLESS], facts=[NIGHTLY])
    dialogue, sent = await play(
        tmp_path,
        scripted,
        patient_turn=[client(*WORDS), client(SECOND)],
        diagnosis=[proposed, diagnosis()],
        evidence_check=evidence_check(True, False, False, why="A guess about Ines."),
    )
    first, second = dialogue.turns
    assert [item.criterion for item in first.evidence] == ["A4"] and first.facts == ()
    assert [(item.gate, item.why, item.claim.sentence) for item in first.dropped] == [
        ("second_reader", "A guess about Ines.", 2),
        ("second_reader", "A guess about Ines.", 3),
    ]
    assert {held for finding in first.findings for held in finding.held} == {"A4"}
    (read,) = sent
    assert "2 | s2 asserts mdd.A7: worthless or unduly guilty" in read
    assert "3 | s3 tells most_days = yes, of current depressive episode: present on most days" in read
    assert "Judge the 3 items of round 1" in read and "`lowered` is empty" in read
    assert second.dropped == (), "nothing new, no call"


async def test_an_item_that_it_passes_over_is_not_confirmed(tmp_path: Path, scripted: Start) -> None:
    twice = evidence_check(True, True)
    twice["verdicts"][1]["item"] = 1
    dialogue, _ = await play(
        tmp_path,
        scripted,
        patient_turn=[client(*WORDS), client(SECOND)],
        diagnosis=[diagnosis(evidence=[AWAKE, WORTHLESS]), diagnosis()],
        evidence_check=twice,
    )
    (dropped,) = dialogue.turns[0].dropped
    assert (dropped.claim.sentence, dropped.why) == (2, "passed over")


async def test_it_is_not_asked_about_what_the_gates_refused(tmp_path: Path, scripted: Start) -> None:
    dialogue, sent = await play(
        tmp_path,
        scripted,
        patient_turn=[client(*WORDS), client(SECOND)],
        diagnosis=diagnosis(evidence=[AWAKE | {"sentence": 41}]),
    )
    assert [item.gate for item in dialogue.turns[0].dropped] == ["sentence"]
    assert sent == []


# ---------------------------------------------------------------- danger


async def test_a_joke_shown_by_its_own_words_is_cleared_for_good(tmp_path: Path, scripted: Start) -> None:
    again = diagnosis(risks=[{"domain": "suicide", "level": 4, "sentences": [1]}])
    dialogue, sent = await play(
        tmp_path,
        scripted,
        patient_turn=[client(PRINTER), client(SECOND)],
        diagnosis=again,
        evidence_check=evidence_check(lowered=[JOKE]),
        reply=[reply("The printer, and the class?"), ASKED, SCRIPT["reply"][1]],
    )
    first, second = dialogue.turns
    (cleared,) = suicide(first).cleared
    assert (cleared.sentence, cleared.kind, cleared.quote, cleared.level) == (1, "dark_joke", JOKE["quote"], 4)
    assert (suicide(first).level, first.mode) == (0, "explore"), "the question is asked once"
    assert (suicide(second).level, second.mode) == (0, "ordinary"), "the same sentence raises nothing again"
    (draft,) = first.drafts
    assert [reason.code for reason in draft.critique.reasons] == ["safety_step_missing"]
    assert "suicide" in draft.critique.guidance
    (read,) = sent
    assert "<raised>\nsuicide: level 4, some intent, no worked-out plan, from s1\n</raised>" in read
    assert "`verdicts` is empty" in read


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"quote": "I was only kidding about it"}, "client's"),
        ({"quote": "the printer"}, "client's"),
        ({"quote": ""}, "client's"),
        ({"sentence": 41}, "s41 is not of this turn"),
    ],
)
async def test_without_words_that_were_said_of_a_sentence_of_this_turn_the_level_stands(
    tmp_path: Path, scripted: Start, change: Json, why: str
) -> None:
    lowered = JOKE | {"quote": PRINTER} | change
    dialogue, _ = await play(
        tmp_path,
        scripted,
        patient_turn=[client(PRINTER, FIRST), client(SECOND)],
        diagnosis=diagnosis(risks=[{"domain": "suicide", "level": 4, "sentences": [1]}]),
        evidence_check=evidence_check(lowered=[lowered]),
        reply=SAFE,
    )
    risk = suicide(dialogue.turns[0])
    assert (risk.level, risk.sentences, dialogue.turns[0].mode) == (4, (1,), "safety_first")
    (refused,) = risk.refused
    assert refused.quote == lowered["quote"] and why in refused.why and risk.cleared == ()


async def test_an_unwanted_thought_that_was_all_of_a_danger_leaves_nothing_but_the_record(
    tmp_path: Path, scripted: Start
) -> None:
    knife = "I'm scared I'll hurt the baby, the picture just shoots in and I feel sick."
    lowered = {"domain": "violence_to_others", "sentence": 1, "kind": "unwanted_thought", "quote": knife}
    dialogue, _ = await play(
        tmp_path,
        scripted,
        patient_turn=[client(knife), client(SECOND)],
        evidence_check=evidence_check(lowered=[lowered]),
    )
    first, second = dialogue.turns
    violence = next(risk for risk in first.risks if risk.domain == "violence_to_others")
    assert (violence.level, violence.mode, violence.cleared[0].level) == (0, "explore", 2)
    assert first.mode == "explore" and second.mode == "ordinary"


async def test_words_about_something_else_raise_nothing_for_good(tmp_path: Path, scripted: Start) -> None:
    vase = "I had three glasses already tonight in the kiln, all cracked."
    lowered = {
        "domain": "intoxication_withdrawal",
        "sentence": 1,
        "kind": "misread",
        "quote": "in the kiln, all cracked",
    }
    dialogue, _ = await play(
        tmp_path,
        scripted,
        patient_turn=[client(vase), client(SECOND)],
        evidence_check=evidence_check(lowered=[lowered]),
    )
    first, second = dialogue.turns
    drunk = next(risk for risk in first.risks if risk.domain == "intoxication_withdrawal")
    assert (drunk.level, drunk.cleared[0].kind, drunk.cleared[0].level) == (0, "misread", 1)
    assert first.mode == second.mode == "ordinary"


async def test_other_sentences_hold_their_level(tmp_path: Path, scripted: Start) -> None:
    dialogue, _ = await play(
        tmp_path,
        scripted,
        patient_turn=[client(PRINTER, "Some nights I think about killing myself."), client(SECOND)],
        diagnosis=diagnosis(risks=[{"domain": "suicide", "level": 4, "sentences": [1]}]),
        evidence_check=evidence_check(lowered=[JOKE]),
        reply=[DIRECT] * 9,
    )
    risk = suicide(dialogue.turns[0])
    assert (risk.level, risk.sentences, dialogue.turns[0].mode) == (2, (2,), "explore")


async def test_a_level_that_stood_before_the_turn_is_not_undercut(tmp_path: Path, scripted: Start) -> None:
    dialogue, sent = await play(
        tmp_path,
        scripted,
        patient_turn=[client("Some nights I think about killing myself."), client(PRINTER)],
        diagnosis=[diagnosis(), diagnosis(risks=[{"domain": "suicide", "level": 4, "sentences": [2]}])],
        evidence_check=[
            evidence_check(),
            evidence_check(lowered=[JOKE | {"sentence": 1}, JOKE | {"sentence": 2, "quote": PRINTER}]),
        ],
        reply=[DIRECT, DIRECT | {"text": f"Once more the printer. {DIRECT['text']}"}],
    )
    assert len(sent) == 2
    levels = [suicide(turn).level for turn in dialogue.turns]
    assert levels == [2, 2] and suicide(dialogue.turns[1]).sentences == (1,)
    assert [item.sentence for item in suicide(dialogue.turns[1]).cleared] == [2]


async def test_a_danger_that_only_stands_is_not_asked_about_again(tmp_path: Path, scripted: Start) -> None:
    spoken = [client("Some nights I think about killing myself."), client(SECOND)]
    dialogue, sent = await play(tmp_path, scripted, patient_turn=spoken, reply=[DIRECT] * 2)
    assert [suicide(turn).level for turn in dialogue.turns] == [2, 2]
    assert len(sent) == 1


async def test_two_jokes_in_two_turns_stay_cleared(tmp_path: Path, scripted: Start) -> None:
    second = "Another jam, so now I will kill myself twice, ask the class."
    dialogue, sent = await play(
        tmp_path,
        scripted,
        patient_turn=[client(PRINTER), client(second)],
        evidence_check=[
            evidence_check(lowered=[JOKE]),
            evidence_check(lowered=[JOKE | {"sentence": 2, "quote": second}]),
        ],
        reply=[ASKED, ASKED | {"text": "Twice now. Is there a part of it that was meant, of dying?"}],
    )
    assert len(sent) == 2
    assert [(suicide(turn).level, len(suicide(turn).cleared)) for turn in dialogue.turns] == [(0, 1), (0, 1)]
