"""How a dialogue goes and how it ends, with a scripted endpoint; and that order and chance have no say in it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from pydantic import BaseModel

from agents import checks
from agents.cast import Asker
from clinical import Knowledge
from corpus.posts import read_posts
from corpus.rows import chat_row
from graphs.dialogue import build_graph, dialogue_id
from graphs.grow import Grower
from prompts.library import Library
from psyllm.errors import Failure
from psyllm.messages import Prompt, Step
from psyllm.reasons import meaning
from psyllm.records import SAFETY_PROTOCOL, Decision, Dialogue, Post, Role, Status
from psyllm.rehearsal import RehearsalProcess
from psyllm.runs import Run
from psyllm.settings import Rules
from tests.conftest import EXAMPLES, Endpoint
from tests.graphs.conftest import (
    FIRST,
    PLAN,
    POST,
    RULES,
    SCRIPT,
    SECOND,
    Json,
    client,
    client_critique,
    grow,
    reply,
    reply_critique,
    served,
    table,
)

Start = Callable[[Json], Endpoint]
Answered = TypeVar("Answered", bound=BaseModel)
ONE_ROUND = ["patient_turn", "client_critique", "diagnosis", "reply", "reply_critique"]
NO = {"$raw": "I would rather not."}
OTHER = Post(id="p2", text="My sister stopped calling in June and I keep walking past her street on the way home.")


@dataclass
class Played:
    dialogue: Dialogue
    requests: list[Json]

    @property
    def schemas(self) -> list[str]:
        return [request["response_format"]["json_schema"]["name"] for request in self.requests]

    def asked(self, schema: str) -> list[Json]:
        return [request for request, name in zip(self.requests, self.schemas, strict=True) if name == schema]

    @property
    def codes(self) -> list[tuple[str, str, int]]:
        return [(reason.role, reason.code, reason.round) for reason in self.dialogue.reasons]


class Play(Protocol):
    def __call__(self, changes: Json, rules: Rules = RULES, **model: Any) -> Awaitable[Played]: ...


@pytest.fixture
def play(tmp_path: Path, scripted: Start) -> Play:
    """Grow one dialogue from SCRIPT with other answers here and there."""

    async def once(changes: Json, rules: Rules = RULES, **model: Any) -> Played:
        endpoint = scripted(SCRIPT | changes)
        (dialogue,) = await grow(tmp_path / "run", served(endpoint.base_url, **model), rules)
        return Played(dialogue, endpoint.requests())

    return once


# ---------------------------------------------------------------- the way through


async def test_the_planned_rounds_are_held_and_accepted(play: Play) -> None:
    played = await play({})
    dialogue = played.dialogue
    assert (dialogue.status, dialogue.reasons, dialogue.ended_by) == (Status.ACCEPTED, (), "plan")
    assert [turn.client_text for turn in dialogue.turns] == [FIRST, SECOND]
    assert [turn.client[0].n for turn in dialogue.turns] == [1, 2], "numbered over the whole dialogue"
    assert [said.text for said in dialogue.replies()] == [answer["text"] for answer in SCRIPT["reply"][:2]]
    assert played.schemas == ["plan", *ONE_ROUND, *ONE_ROUND]


async def test_the_client_may_leave_early_but_not_before_the_least_rounds(play: Play) -> None:
    plan = PLAN | {"rounds": ["the ceiling", "the eggs", "the letter", "the key"]}
    played = await play({"plan": plan, "patient_turn": [client(FIRST, ends=True), client(SECOND, ends=True)]})
    dialogue = played.dialogue
    assert (dialogue.status, len(dialogue.turns), dialogue.ended_by) == (Status.ACCEPTED, 2, "patient")
    told = ["`ends` is false" in asked["messages"][-1]["content"] for asked in played.asked("patient_turn")]
    assert told == [True, False]


async def test_a_plan_that_the_checks_refuse_ends_it_before_anybody_speaks(play: Play) -> None:
    played = await play({"plan": PLAN | {"rounds": ["the ceiling", "the ceiling"]}})
    assert (played.dialogue.status, played.schemas) == (Status.REJECTED, ["plan"])
    assert played.codes == [("planner", "rounds_unfocused", 0)]


async def test_an_unsuitable_post_is_screened_out_after_one_call(play: Play) -> None:
    played = await play({"plan": PLAN | {"suitable": False, "unsuitable_because": "An advert for pillows."}})
    assert (played.dialogue.status, played.schemas) == (Status.SCREENED_OUT, ["plan"])
    assert played.codes == [("planner", "post_unsuitable", 0)]
    assert played.dialogue.reasons[0].detail == "An advert for pillows."
    assert (played.dialogue.plan, played.dialogue.ended_by) == (None, "none")


async def test_a_post_too_short_to_plan_from_costs_no_call(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted(SCRIPT)
    (dialogue,) = await grow(tmp_path / "run", served(endpoint.base_url), posts=[Post(id="p", text="I am tired.")])
    assert (dialogue.status, dialogue.reasons[0].code) == (Status.SCREENED_OUT, "post_too_short")
    assert endpoint.requests() == []


# ---------------------------------------------------------------- sent back


async def test_a_reply_that_was_sent_back_is_kept_beside_the_better_one(play: Play) -> None:
    draft = reply("Mondays, then. Whose eggs were they?")
    judged = [reply_critique("revise", "parroting", guidance="Stay with the ceiling.", score=3), reply_critique()]
    played = await play({"reply": [draft, *SCRIPT["reply"]], "reply_critique": judged})
    assert played.dialogue.status is Status.ACCEPTED
    first, second = played.dialogue.turns
    assert first.reply is not None and first.reply.text == SCRIPT["reply"][0]["text"]
    (kept,) = first.drafts
    assert (kept.reply.text, kept.critique.guidance) == (draft["text"], "Stay with the ceiling.")
    assert first.critique is not None and first.critique.decision is Decision.ACCEPT
    assert second.drafts == ()


async def test_a_client_turn_that_was_sent_back_is_kept_beside_the_better_one(play: Play) -> None:
    jargon = "I want to work on my coping skills, that is all."
    judged = [client_critique("revise", "too_articulate", guidance="Plainer."), client_critique()]
    spoken = [client(jargon), client("I am a failed soufflé of a man."), *SCRIPT["patient_turn"]]
    played = await play({"patient_turn": spoken, "client_critique": judged})
    assert played.dialogue.status is Status.ACCEPTED
    first = played.dialogue.turns[0]
    assert [draft.sentences for draft in first.client_drafts] == [(jargon,), ("I am a failed soufflé of a man.",)]
    assert [draft.critique.by for draft in first.client_drafts] == ["code", "model"]
    assert [sentence.n for sentence in first.client] == [1], "what was sent back has no number"


@pytest.mark.parametrize("allowed", [0, 1])
async def test_a_reply_sent_back_too_often_ends_it_with_the_last_codes(play: Play, allowed: int) -> None:
    named = ["parroting", "empty_reassurance", "question_run"]
    judged = [reply_critique(), *(reply_critique("revise", code, score=3) for code in named)]
    replies = [SCRIPT["reply"][0], reply("Eggs. And then?"), reply("A tray, then. Whose?"), reply("Never mind.")]
    rules = RULES.model_copy(update={"max_revisions": allowed})
    played = await play({"reply": replies, "reply_critique": judged}, rules)
    assert played.dialogue.status is Status.REJECTED
    assert played.codes == [("therapist", named[allowed], 2)]
    last = played.dialogue.turns[-1]
    assert [draft.critique.reasons[0].code for draft in last.drafts] == named[:allowed]
    assert played.dialogue.ended_by == "none", "the last planned round was not finished"


@pytest.mark.parametrize("side", ["client_critique", "reply_critique"])
async def test_a_rejected_turn_ends_it_at_once(play: Play, side: str) -> None:
    role, code = ("patient", "profile_contradicted") if side == "client_critique" else ("therapist", "modality_drift")
    verdict = client_critique if side == "client_critique" else reply_critique
    played = await play({side: verdict("reject", code)})
    assert (played.dialogue.status, played.codes) == (Status.REJECTED, [(role, code, 1)])
    assert played.schemas[-1] == side


async def test_a_critic_that_names_nothing_is_written_down_as_unexplained(play: Play) -> None:
    played = await play({"client_critique": client_critique("reject", guidance="I do not like it.")})
    assert played.codes == [("patient", "unexplained", 1)]
    assert played.dialogue.reasons[0].detail == "I do not like it."


async def test_the_whole_dialogue_is_checked_at_the_end(play: Play) -> None:
    played = await play({"patient_turn": client(FIRST)})
    assert (played.dialogue.status, played.codes) == (Status.REJECTED, [("dialogue", "no_movement", 0)])
    assert played.dialogue.ended_by == "plan"


# ---------------------------------------------------------------- danger


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        ("Some nights I think about killing myself.", "explore"),
        ("I have worked out how I'd do it, killing myself, but I wouldn't.", "safety_first"),
    ],
)
async def test_danger_in_the_client_s_words_decides_what_the_therapist_may_do(
    play: Play, words: str, mode: str
) -> None:
    locked = mode == "safety_first"
    technique = SAFETY_PROTOCOL if locked else "guided_discovery"
    told = "You said killing yourself, and I can't see you. {crisis_contacts} is there today."
    replies = [
        reply("Four o'clock, and that ceiling.", technique=technique),
        reply(f"{told} Who is near you tonight?", technique=technique),
        reply(f"Still here, still about dying too. {told} Is Ines at home?", technique=technique),
    ]
    played = await play({"patient_turn": [client(FIRST, words), client(SECOND)], "reply": replies})
    assert [turn.mode for turn in played.dialogue.turns] == [mode, mode], "it does not drop when they change the topic"
    assert played.dialogue.status is Status.ACCEPTED
    (ignored,) = played.dialogue.turns[0].drafts
    assert ignored.critique.by == "code" and ignored.critique.reasons[0].code == "safety_step_missing"
    for request in played.asked("reply"):
        field = request["response_format"]["json_schema"]["schema"]["properties"]["technique"]
        open_now = field.get("enum", [field.get("const")])
        assert open_now == [SAFETY_PROTOCOL] if locked else "guided_discovery" in open_now


# ---------------------------------------------------------------- the machinery


@pytest.mark.parametrize(
    ("schema", "role", "number"),
    [("plan", "planner", 0)]
    + [
        (schema, role, 2)
        for schema, role in zip(ONE_ROUND, ("patient", "critic", "diagnostician", "therapist", "critic"), strict=True)
    ],
)
async def test_answers_that_never_fit_reject_the_dialogue(play: Play, schema: str, role: str, number: int) -> None:
    sound = SCRIPT[schema][0] if isinstance(SCRIPT[schema], list) else SCRIPT[schema]
    played = await play({schema: [sound, NO] if number else NO})
    assert played.dialogue.status is Status.REJECTED
    assert played.codes == [("run", "schema_failed", number)]
    assert played.dialogue.reasons[0].detail.startswith(f"{role} at {number}/")
    assert played.schemas[-3:] == [schema] * 3
    assert played.dialogue.ended_by == "none"


async def test_a_prompt_that_the_model_cannot_hold_rejects_the_dialogue(play: Play) -> None:
    played = await play({}, context=3900)
    assert (played.dialogue.status, played.codes) == (Status.REJECTED, [("run", "budget_exceeded", 1)])
    assert played.schemas == ["plan", *ONE_ROUND[:2]]
    assert played.dialogue.reasons[0].detail.startswith("diagnostician at 1/diagnose/0: about ")


async def test_a_critique_is_never_shown_with_another_reply(play: Play) -> None:
    judged = [reply_critique("revise", "parroting", score=3), NO]
    played = await play({"reply_critique": judged})
    (turn,) = played.dialogue.turns
    assert turn.reply is not None and turn.reply.text == SCRIPT["reply"][1]["text"]
    assert (turn.critique, len(turn.drafts)) == (None, 1)


async def test_a_refused_request_fails_one_dialogue_and_only_another_try_pays_for_it(
    tmp_path: Path, scripted: Start
) -> None:
    endpoint = scripted(SCRIPT | {"patient_turn": [{"$status": 400}, *SCRIPT["patient_turn"]]})
    posts = [POST, OTHER]
    failed, sound = await grow(tmp_path / "run", served(endpoint.base_url), posts=posts)
    assert (failed.status, sound.status) == (Status.FAILED, Status.ACCEPTED)
    (reason,) = failed.reasons
    assert (reason.role, reason.code, reason.round) == ("run", "endpoint_failed", 1)
    assert "HTTP 400" in reason.detail
    assert failed.plan is not None, "what was reached is kept"

    before = len(endpoint.requests())
    assert await grow(tmp_path / "run", served(endpoint.base_url), posts=posts) == []
    (again,) = await grow(tmp_path / "run", served(endpoint.base_url), posts=(POST,), total=1)
    assert (again.id, again.status, again.reasons) == (failed.id, Status.ACCEPTED, ())
    assert len(endpoint.requests()) - before == 2 * len(ONE_ROUND), "the plan is not paid again"
    with Run(tmp_path / "run") as run:
        assert run.status_counts() == {status: 2 * (status is Status.ACCEPTED) for status in Status}


async def test_a_refused_key_stops_the_run_and_ends_no_dialogue(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted(SCRIPT | {"diagnosis": [{"$status": 401}, SCRIPT["diagnosis"]]})
    posts = [POST, OTHER]
    with pytest.raises(Failure, match="refused the API key"):
        await grow(tmp_path / "run", served(endpoint.base_url), posts=posts)
    with Run(tmp_path / "run") as run:
        assert list(run.dialogues()) == []
    assert [d.post_id for d in await grow(tmp_path / "run", served(endpoint.base_url), posts=posts)] == ["p1", "p2"]


@dataclass(frozen=True)
class BrokenFor:
    """An asker with a fault that shows for one dialogue."""

    asker: Asker
    dialogue_id: str

    async def ask(self, step: Step, prompt: Prompt, schema: type[Answered]) -> tuple[Answered, str]:
        if step.dialogue_id == self.dialogue_id:
            raise KeyError("no such chair")
        return await self.asker.ask(step, prompt, schema)

    def native(self, role: Role) -> bool:
        return self.asker.native(role)

    def rehearsed(self, dialogue_id: str) -> bool:
        return self.asker.rehearsed(dialogue_id)


async def test_a_fault_of_our_own_fails_one_dialogue_alone(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted(SCRIPT)
    grown: list[Dialogue] = []
    async with table(tmp_path / "run", served(endpoint.base_url)) as (cast, caller, journal):
        broken = replace(cast, asker=BrokenFor(caller, dialogue_id(cast.rules.seed, POST.id, 0)))
        await Grower(broken, caller, journal, [POST, OTHER], open_dialogues=1, on_dialogue=grown.append).run()
    assert [(d.post_id, d.status) for d in grown] == [("p1", Status.FAILED), ("p2", Status.ACCEPTED)]
    (reason,) = grown[0].reasons
    assert (reason.role, reason.code) == ("run", "internal_error") and "no such chair" in reason.detail


# ---------------------------------------------------------------- the trace


async def test_a_native_trace_comes_from_the_reasoning_channel_and_is_not_asked_for(play: Play) -> None:
    replies = [
        {"technique": r["technique"], "text": r["text"], "$reasoning_content": r["reasoning"]} for r in SCRIPT["reply"]
    ]
    played = await play({"reply": replies}, trace="native")
    assert played.dialogue.status is Status.ACCEPTED
    said = list(played.dialogue.replies())
    assert [(r.trace, r.reasoning) for r in said] == [("native", SCRIPT["reply"][0]["reasoning"])] * 2
    for request in played.asked("reply"):
        assert set(request["response_format"]["json_schema"]["schema"]["properties"]) == {"technique", "text"}


async def test_a_written_trace_is_asked_for_before_the_words(play: Play) -> None:
    played = await play({})
    fields = played.asked("reply")[0]["response_format"]["json_schema"]["schema"]["properties"]
    assert list(fields) == ["reasoning", "technique", "text"]
    assert all(said.trace == "written" for said in played.dialogue.replies())


# ---------------------------------------------------------------- chance and order


async def test_order_and_company_do_not_change_a_dialogue(tmp_path: Path) -> None:
    posts = read_posts([EXAMPLES / "posts.jsonl"]).posts[:8]
    found = []
    with RehearsalProcess(fault_rate=0.3) as server:
        for name, given, width in (("one", posts, 1), ("other", posts[::-1], 16)):
            dialogues = await grow(tmp_path / name, served(server.base_url), Rules(seed=3), given, open_dialogues=width)
            found.append({dialogue.id: dialogue for dialogue in dialogues})
        elsewhere = await grow(tmp_path / "seed", served(server.base_url), Rules(seed=4), posts[:1])
    assert len(found[0]) == 8
    assert found[0] == found[1]
    assert elsewhere[0].plan != found[0][dialogue_id(3, posts[0].id, 0)].plan


async def test_whatever_was_not_accepted_says_why(tmp_path: Path) -> None:
    posts = read_posts([EXAMPLES / "posts.jsonl"]).posts[:12]
    with RehearsalProcess(fault_rate=0.6) as server:
        rules = Rules(max_revisions=0)
        dialogues = await grow(tmp_path / "run", served(server.base_url), rules, posts, open_dialogues=4)
    refused = [dialogue for dialogue in dialogues if dialogue.status is not Status.ACCEPTED]
    assert len(refused) > 6
    for dialogue in dialogues:
        assert bool(dialogue.reasons) == (dialogue in refused)
        assert all(meaning(reason.code) for reason in dialogue.reasons)


async def test_every_exported_trace_passes_the_checks(tmp_path: Path) -> None:
    posts = read_posts([EXAMPLES / "posts.jsonl"]).posts
    with RehearsalProcess(fault_rate=0.4) as server:
        await grow(tmp_path / "run", served(server.base_url), Rules(seed=1), posts, open_dialogues=8)
    knowledge, library = Knowledge.load(), Library()
    exported = 0
    with Run(tmp_path / "run") as run:
        counsellor = library.roles["counsellor"]
        rows = {d.id: chat_row(d, counsellor) for d in run.dialogues(Status.ACCEPTED)}
        for dialogue in run.dialogues(Status.ACCEPTED):
            assert dialogue.plan
            modality = library.modality(dialogue.plan.modality.chosen)
            for number, turn in enumerate(dialogue.turns):
                message = rows[dialogue.id]["messages"][2 * number + 2]
                assert turn.reply and turn.reply.reasoning == message["reasoning_content"]
                heard = (*dialogue.turns[:number], turn.model_copy(update={"reply": None}))
                assert not checks.check_reply(knowledge, modality, heard, turn.reply)
                exported += 1
            assert not checks.check_dialogue(dialogue.turns)
    assert exported > 20


async def test_the_drawing_shows_every_way_a_dialogue_can_go(tmp_path: Path) -> None:
    async with table(tmp_path / "run", served("http://127.0.0.1:9/v1")) as (cast, _, _):
        mermaid = build_graph(cast).get_graph().draw_mermaid()
    drawn: dict[str, set[str]] = {}
    for start, end in re.findall(r"^\s*(\w+) -\.?->? (\w+);$", mermaid, re.MULTILINE):
        drawn.setdefault(start, set()).add(end)
    assert drawn == {
        "__start__": {"plan"},
        "plan": {"patient", "finalise"},
        "patient": {"hear"},
        "hear": {"diagnose", "patient", "finalise"},
        "diagnose": {"respond"},
        "respond": {"critique"},
        "critique": {"patient", "respond", "review", "finalise"},
        "review": {"respond", "finalise"},
        "finalise": {"__end__"},
    }


async def test_an_endpoint_that_fails_every_dialogue_alike_stops_the_run(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted(SCRIPT | {"plan": {"$status": 400}})
    posts = [POST.model_copy(update={"id": f"p{n}"}) for n in range(14)]
    with pytest.raises(Failure, match="10 dialogues in a row failed"):
        await grow(tmp_path / "run", served(endpoint.base_url), posts=posts)
    assert len(endpoint.requests()) == 10


async def test_one_answer_that_never_comes_ends_one_dialogue(tmp_path: Path) -> None:
    with RehearsalProcess(http_faults={"hang": 0.2}, fault_rate=0) as server:
        posts = [POST.model_copy(update={"id": f"p{n}"}) for n in range(6)]
        model = served(server.base_url, timeout_s=0.5)
        grown = await grow(tmp_path / "run", model, posts=posts, open_dialogues=6)
    assert len(grown) == 6
    failed = [d for d in grown if d.status is Status.FAILED]
    assert failed and all("no answer within 0.5 s" in d.reasons[0].detail for d in failed)


async def test_a_corpus_covers_the_modalities_on_offer(tmp_path: Path) -> None:
    posts = [POST.model_copy(update={"id": f"p{n}"}) for n in range(60)]
    with RehearsalProcess(fault_rate=0) as server:
        rules = Rules(min_rounds=1, max_rounds=1)
        grown = await grow(tmp_path / "run", served(server.base_url), rules, posts, open_dialogues=16)
    chosen = {d.plan.modality.chosen for d in grown if d.plan}
    assert chosen == set(Library().modalities)
