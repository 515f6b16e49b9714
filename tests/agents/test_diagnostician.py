"""Which criteria the diagnostician is sent: a shortlist that only grows, and a schema that offers no more."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from jsonschema import Draft202012Validator, ValidationError

from agents.cast import Cast
from agents.diagnostician import diagnose, diagnosis_schema
from clinical import Knowledge
from clinical.cues import MOST
from prompts.library import Library
from psyllm.forms import Misfit, form_of
from psyllm.messages import Step
from psyllm.records import Evidence, Reply, Sentence, Turn
from psyllm.settings import Rules
from tests.prompts.test_shipped import Asked, Recorder

REPLY = Reply(reasoning="", technique="open_question", text="Go on?")
WORDS = (
    "I worry about everything, work, money, the boiler, and I can't stop.",
    "I cry most mornings and I sleep three hours and nothing is fun any more.",
    "I check the lock forty times before I can leave.",
    "I drink a bottle of wine every evening and I can't cut down.",
    "Since the crash I have nightmares and I jump at every noise.",
    "My heart pounds out of nowhere and I think I am dying in the supermarket.",
    "I binge at night and make myself throw up.",
)


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.load()


def talk(count: int) -> list[Turn]:
    """So many rounds, the last not yet answered; every one but the last has evidence that points back at depression."""
    held = (Evidence(disorder="mdd", criterion="A1", sentence=2),)
    return [
        Turn(
            round=n,
            client=(Sentence(n=n, text=text),),
            evidence=held if n == 2 < count else (),
            reply=REPLY if n < count else None,
        )
        for n, text in enumerate(WORDS[:count], 1)
    ]


def test_the_shortlist_only_grows_and_keeps_its_order(knowledge: Knowledge) -> None:
    lists = [knowledge.shortlist(talk(count)) for count in range(1, len(WORDS) + 1)]
    assert lists[0] and lists[0][0] == "gad" and "mdd" in lists[1] and len(lists[-1]) == MOST
    for shorter, longer in pairwise(lists):
        assert longer[: len(shorter)] == shorter


def test_what_was_accepted_does_not_reorder_what_was_sent(knowledge: Knowledge) -> None:
    both = Turn(round=1, client=(Sentence(n=1, text=" ".join(WORDS[:2])),))
    sent = knowledge.shortlist([both])
    for name in sent:
        held = Evidence(disorder=name, criterion=knowledge.criterion_ids_of((name,))[0].split(".")[1], sentence=1)
        answered = both.model_copy(update={"evidence": (held,), "reply": REPLY})
        later = knowledge.shortlist([answered, Turn(round=2, client=(Sentence(n=2, text="Hm."),))])
        assert len(sent) > 1 and later[: len(sent)] == sent


def test_the_schema_offers_the_criteria_and_facts_of_the_list_alone(knowledge: Knowledge) -> None:
    text = str(form_of(diagnosis_schema(knowledge, ("gad",)), "json_schema").json_schema)
    assert "'gad.A1'" in text and "'most_days'" in text and "mdd" not in text and "bereaved" not in text
    assert "violence_to_others" in text, "every danger can be graded"


@pytest.mark.parametrize(
    ("where", "item"),
    [
        ("evidence", {"criterion": "mdd.A1", "sentence": 1, "polarity": "asserts"}),
        ("facts", {"fact": "bereaved", "value": True, "sentence": 1, "disorder": "gad"}),
        ("facts", {"fact": "most_days", "value": True, "sentence": 1, "disorder": "mdd"}),
        ("risks", {"domain": "weather", "level": 2, "sentences": [1]}),
    ],
)
def test_what_is_not_on_the_list_does_not_fit(knowledge: Knowledge, where: str, item: dict[str, object]) -> None:
    form = form_of(diagnosis_schema(knowledge, ("gad",)), "json_schema")
    answer: dict[str, object] = {"evidence": [], "facts": [], "risks": [], "questions": []}
    assert form.read(json.dumps(answer), "stop").claims() == ()
    with pytest.raises(Misfit, match="is not on offer; there is"):
        form.read(json.dumps(answer | {where: [item]}), "stop")
    with pytest.raises(ValidationError):
        Draft202012Validator(form.json_schema).validate(answer | {where: [item]})


def test_without_a_list_risk_alone_can_be_answered(knowledge: Knowledge) -> None:
    schema = diagnosis_schema(knowledge, ())
    risk = {"domain": "suicide", "level": 2, "sentences": [1]}
    answer = {"evidence": [], "facts": [], "risks": [risk], "questions": []}
    assert schema.model_validate(answer).risks[0].level == 2
    with pytest.raises(ValueError, match="criterion 'none' is not on offer"):
        schema.model_validate(answer | {"evidence": [{"criterion": "none", "sentence": 1, "polarity": "asserts"}]})


async def test_criteria_stand_before_the_words_and_a_round_more_keeps_the_start(knowledge: Knowledge) -> None:
    cast = Cast(asker=Recorder(), library=Library(), knowledge=knowledge, rules=Rules(), rehearsal=False, models={})
    step = Step(dialogue_id="d", post_id="p", repeat=0, round=1, node="diagnose", attempt=0)
    for count in (1, 2):
        with pytest.raises(Asked):
            await diagnose(cast, step, talk(count))
    assert isinstance(cast.asker, Recorder)
    (system, user), (later_system, later) = ([m.text for m in prompt.messages] for prompt in cast.asker.prompts)
    assert system == later_system and "<risk_levels>" in system and "gad.A1" not in system
    criteria = user.partition("\n</criteria>")[0]
    assert "gad.A1" in criteria and later.startswith(criteria)
    assert "bed.A1" not in user + later
