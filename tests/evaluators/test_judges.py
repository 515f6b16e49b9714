"""What a judge is shown, what it may answer, and what becomes of an answer of no use; over a scripted endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.eval_run import RunOptions, suited
from evaluators.judges import Judge, longest, moments, preference_schema, rating_schema
from evaluators.records import Preference, Rating, Talk
from evaluators.rubric import Item, Rubric, load
from evaluators.table import Table
from psyllm.runs import Run
from psyllm.settings import BUILT_IN_MODELS, Settings
from tests.conftest import Endpoint
from tests.evaluators.conftest import CLIENT, REPLY, laid_with, served, talk_of

Start = Callable[[dict[str, Any]], Endpoint]
GOOD = {
    "evidence": "it was your own hand on the sign",
    "client_quote": "",
    "against": "It says little of the shaking.",
    "anchor": "adds nothing foreign",
    "score": 4,
    "null_because": "",
}


def item_of(rubric: Rubric, name: str) -> Item:
    return next(item for item in rubric.matter.items if item.id == name)


def judge(table: Table, *hidden: str) -> Judge:
    return Judge("m", table.seat("m"), hidden)


async def scored(
    start: Start,
    folder: Path,
    answers: Any,
    *,
    name: str = "EI2",
    rubric: str = "empathy_insight",
    on: Talk | None = None,
) -> tuple[Rating, Endpoint]:
    endpoint = start({"rating": answers})
    one = load(rubric)
    async with laid_with(folder / "run", {"m": served(endpoint.base_url)}) as table:
        found = await judge(table).score(on or talk_of(), one, item_of(one, name), 1)
    return found, endpoint


async def test_a_score_comes_with_the_words_that_decided_and_where_they_stand(scripted: Start, tmp_path: Path) -> None:
    found, _ = await scored(scripted, tmp_path, GOOD)
    assert (found.told, found.score, found.quote, found.quoted_round) == ("scored", 4, GOOD["evidence"], 1)
    assert found.words == len(REPLY.split())


async def test_a_quote_that_nobody_said_is_asked_again_and_then_void(scripted: Start, tmp_path: Path) -> None:
    invented = GOOD | {"evidence": "you must feel so proud of yourself"}
    found, endpoint = await scored(scripted, tmp_path, [invented, invented])
    assert (found.told, found.score) == ("void", None)
    again = endpoint.requests()[1]["messages"][-1]["content"]
    assert "is not in the words of the counsellor" in again
    mended, _ = await scored(scripted, tmp_path / "2", [invented, GOOD])
    assert (mended.told, mended.score) == ("scored", 4)


async def test_an_item_about_the_client_needs_the_clients_words_too(scripted: Start, tmp_path: Path) -> None:
    bare = GOOD | {"client_quote": "I feel fine about it"}
    whole = GOOD | {"client_quote": "my hand shook"}
    found, endpoint = await scored(scripted, tmp_path, [bare, whole], name="AP2", rubric="attunement_presence")
    assert found.told == "scored" and found.client_quote == "my hand shook"
    assert len(endpoint.requests()) == 2


async def test_a_judge_that_refuses_is_counted_and_not_dropped(scripted: Start, tmp_path: Path) -> None:
    found, endpoint = await scored(scripted, tmp_path, {"$raw": "I'm sorry, I cannot rate this."})
    assert (found.told, found.score) == ("unreadable", None)
    assert len(endpoint.requests()) == 3


async def test_an_endpoint_that_refuses_the_call_is_counted_too(scripted: Start, tmp_path: Path) -> None:
    found, _ = await scored(scripted, tmp_path, {"$status": 400})
    assert found.told == "failed"


async def test_cannot_be_scored_is_no_three(scripted: Start, tmp_path: Path) -> None:
    blank = GOOD | {"score": None, "null_because": "nothing personal has been said"}
    found, _ = await scored(scripted, tmp_path, blank)
    assert (found.told, found.score, found.why) == ("null", None, "nothing personal has been said")


async def test_where_code_reads_danger_a_judge_cannot_call_it_not_scorable(scripted: Start, tmp_path: Path) -> None:
    blank = GOOD | {"score": None, "null_because": "no cue"}
    dangerous = talk_of(("I think about killing myself in the car.", REPLY), level=2)
    found, endpoint = await scored(scripted, tmp_path, blank, name="SB1", rubric="safety_boundaries", on=dangerous)
    assert found.told == "unreadable"
    assert "level 2 of suicide" in endpoint.requests()[0]["messages"][1]["content"]
    calm, _ = await scored(scripted, tmp_path / "2", blank, name="SB1", rubric="safety_boundaries")
    assert calm.told == "null"


async def test_a_judge_reads_no_names_no_markup_no_later_turn_and_one_item(scripted: Start, tmp_path: Path) -> None:
    said = "**Qwen3-8B** here:\n- You kept it going after him, and yesterday it was your own hand on the sign."
    endpoint = scripted({"rating": GOOD})
    rubric = load("empathy_insight")
    two = talk_of((CLIENT, said), ("And then?", "A later reply that must not be read."))
    async with laid_with(tmp_path / "run", {"m": served(endpoint.base_url)}) as table:
        await judge(table, "Qwen3-8B", "m:plain").score(two, rubric, item_of(rubric, "EI2"), 1)
    (request,) = endpoint.requests()
    sent = "\n".join(message["content"] for message in request["messages"])
    assert "Qwen" not in sent and "m:plain" not in sent and "**Qwen" not in sent
    assert "[name] here:\nYou kept it going" in sent
    assert "later reply" not in sent
    assert "Understanding of meaning" in sent and "Emotional accuracy" not in sent


async def test_comparisons_hide_the_names_and_need_a_quote_from_both(scripted: Start, tmp_path: Path) -> None:
    mine, other = (
        talk_of(counsellor="a:plain"),
        talk_of((CLIENT, "It sounds like a very hard time."), counsellor="b:plain"),
    )
    answer = {
        "first_quote": "it was your own hand",
        "second_quote": "a very hard time",
        "reason": "The first saw the hand.",
        "better": "first",
    }
    endpoint = scripted({"preference": [answer, answer | {"second_quote": "words of nobody at all"}]})
    rubric = load("empathy_insight")
    found: list[Preference] = []
    async with laid_with(tmp_path / "run", {"m": served(endpoint.base_url)}) as table:
        for repeat in range(2):
            found.append(await judge(table, "a:plain", "b:plain").compare(rubric, mine, other, repeat))
    assert [(p.told, p.better) for p in found] == [("answered", "first"), ("void", "")]
    assert (found[0].first, found[0].second) == ("a:plain", "b:plain")
    assert "plain" not in endpoint.requests()[0]["messages"][1]["content"]


async def test_scores_are_steps_of_the_talk_in_the_journal(scripted: Start, tmp_path: Path) -> None:
    await scored(scripted, tmp_path, GOOD)
    with Run(tmp_path / "run") as run:
        (call,) = run.calls(talk_of().id)
    assert call.path == "1/judge.m.EI2/0/0"
    assert {prompt.partition("@")[0] for prompt in call.prompts} == {"judge", "empathy_insight"}


def test_reply_items_are_scored_on_replies_spread_over_the_talk() -> None:
    long = talk_of(*[(CLIENT, REPLY)] * 6)
    rubric = load("attunement_presence")
    assert moments(long, item_of(rubric, "AP1"), 2) == (3, 6)
    assert moments(long, item_of(rubric, "AP4"), 2) == (6,)
    assert moments(talk_of(*[(CLIENT, REPLY)] * 3, given=2), item_of(rubric, "AP1"), 3) == (3,)


def test_a_line_of_an_answer_is_so_short_that_the_whole_answer_fits() -> None:
    assert longest(0) == longest(4000) == 240, "a model with room is asked what it was always asked"
    assert longest(180) == 60 and longest(90) == 40
    for schema in (rating_schema(False, True, 60), preference_schema(60)):
        fields = schema.model_json_schema()["properties"]
        lines = [field for field in fields.values() if field.get("type") == "string" and "enum" not in field]
        assert len(lines) >= 3 and {line["maxLength"] for line in lines} == {60}


def test_an_embedded_judge_is_given_what_it_can_do_in_minutes_and_the_user_has_the_last_word() -> None:
    asked = RunOptions(
        out=Path("e"),
        counsellors=("rehearsal:plain",),
        clients=None,
        static=None,
        dialogues=(),
        judges=("embedded",),
        client_model="rehearsal",
        rubrics=(),
        rounds=None,
        limit=None,
        variants=1,
        repeats=1,
        moments=None,
        compare=True,
        safety=None,
        seed=0,
        concurrency=None,
        settings=None,
    )
    settings, options = suited(Settings(), asked)
    assert (options.rounds, options.moments, options.safety) == (1, 1, False)
    assert settings.models["embedded"].answer_tokens == 180
    _, options = suited(Settings(), replace(asked, rounds=4, safety=True))
    assert (options.rounds, options.moments, options.safety) == (4, 1, True)
    own = BUILT_IN_MODELS["embedded"].model_copy(update={"sampling": {"max_tokens": 900}})
    settings, _ = suited(Settings(models={"embedded": own}), asked)
    assert settings.models["embedded"].answer_tokens == 900
    for long in (replace(asked, client_model="embedded"), replace(asked, counsellors=("embedded:graph",))):
        assert suited(Settings(), long)[0].models["embedded"].answer_tokens == 3000, "plans and forms need room"
    same = suited(Settings(), replace(asked, judges=("rehearsal",)))
    assert same == (Settings(), replace(asked, judges=("rehearsal",)))
