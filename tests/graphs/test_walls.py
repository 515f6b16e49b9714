"""Who is shown what: a canary, a word of its own, stands in every text, and every message of every call is searched."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel

from corpus.rows import chat_row
from graphs.dialogue import build_graph
from graphs.grow import Grower
from prompts.library import SHIPPED, Library
from psyllm.calls import Caller
from psyllm.messages import Prompt, Step
from psyllm.records import Dialogue, Post, Role
from psyllm.runs import Run, StoredCall
from psyllm.settings import Rules
from tests.conftest import Endpoint
from tests.graphs.conftest import (
    FIRST,
    PLAN,
    SECOND,
    Json,
    client,
    client_critique,
    diagnosis,
    evidence_check,
    reply,
    reply_critique,
    served,
    table,
)

Answered = TypeVar("Answered", bound=BaseModel)
Start = Callable[[Json], Endpoint]

SEEN = {
    "plan": "post_title post_text school_id school_name school_planner misfit_plan",
    "patient": "plan_profile_* plan_rounds_* client_1 reply_1 client_sent_back client_guidance misfit_patient",
    "hear": "plan_profile_* plan_rounds_* client_1 client_2 reply_1 client_sent_back misfit_hear",
    "diagnose": "client_1 client_2 reply_1 misfit_diagnose",
    "verify": "client_1 client_2 reply_1 misfit_verify",
    "respond": "client_1 client_2 reply_1 reply_sent_back reasoning_sent_back reply_guidance misfit_respond"
    " school_name school_technique school_therapist",
    "critique": "client_1 client_2 reply_1 reply_2 reply_sent_back misfit_critique"
    " reasoning_1 reasoning_2 reasoning_sent_back school_name school_technique school_critic",
}
"""Graph node -> the canaries that its calls are shown. All others are forbidden to it."""

POST = Post(
    id="zqpost_id",
    title="awake again zqpost_title",
    text="Since the spring I lie awake most nights, and by day I am no use to anybody at the bakery. zqpost_text",
    source="zqpost_source",
    license="zqpost_license",
    metadata={"zqpost_key": "zqpost_value"},
)
ENUMS = {"severity": "mild", "chosen": "zqschool_id"}


def canaries(text: str) -> set[str]:
    return set(re.findall(r"zq([a-z0-9_]+)", text))


def planted(value: Any, name: str) -> Any:
    """The same value with the name of its place in every text."""
    if isinstance(value, dict):
        return {key: planted(item, f"{name}_{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [planted(item, f"{name}_{n}") for n, item in enumerate(value)]
    return f"{value} zq{name}".strip() if isinstance(value, str) else value


def planted_plan() -> Json:
    plan: Json = planted(PLAN, "plan") | ENUMS | {"$reasoning_content": "zqaside_thought"}
    plan["scene"]["category"] = "zqplan_scene_category"
    for rejected, original in zip(plan["rejected"], PLAN["rejected"], strict=True):
        rejected["id"] = original["id"]
    return plan


def misfit(node: str) -> Json:
    return {"$raw": f'{{"quote": "zqmisfit_{node}"}}'}


SLEEP = {"criterion": "mdd.A4", "sentence": 1, "polarity": "asserts"}
EXHAUSTED = {"criterion": "mdd.A6", "sentence": 2, "polarity": "asserts"}
NIGHTLY = {"fact": "most_days", "value": True, "sentence": 1, "disorder": "mdd"}
REPLIES = [
    reply("Four o'clock, that ceiling. Whose voice is it? zqreply_1", "zqreasoning_1", technique="zqschool_technique"),
    reply("Leave it, she said. And you? zqreply_2", "zqreasoning_2", technique="zqschool_technique"),
]
WORDS = [client(f"{FIRST[:-1]} and I cry, every night zqclient_1."), client(f"{SECOND} zqclient_2")]
SCRIPT: Json = {
    "plan": [misfit("plan"), planted_plan()],
    "patient_turn": [misfit("patient"), client("I am very tired today zqclient_sent_back."), *WORDS, WORDS[1]],
    "client_critique": [
        misfit("hear"),
        client_critique("revise", guidance="Be plainer. zqclient_guidance")
        | {"reasons": [{"code": "too_articulate", "quote": "zqaside_client_quote"}]},
        client_critique(guidance="zqaside_client_praise"),
    ],
    "diagnosis": [
        misfit("diagnose"),
        diagnosis(evidence=[SLEEP], facts=[NIGHTLY], questions=["Since when? zqaside_question_1"]),
        diagnosis(evidence=[EXHAUSTED], questions=["What about work? zqaside_question_2"]),
    ],
    "evidence_check": [
        misfit("verify"),
        evidence_check(True, True, why="zqaside_why_1"),
        evidence_check(False, why="zqaside_why_2"),
    ],
    "reply": [
        misfit("respond"),
        reply("Mondays, then? zqreply_sent_back", "zqreasoning_sent_back", technique="zqschool_technique"),
        *REPLIES,
        *REPLIES,
    ],
    "reply_critique": [
        misfit("critique"),
        reply_critique("revise", guidance="Stay with the ceiling. zqreply_guidance", score=3)
        | {"reasons": [{"code": "parroting", "quote": "zqaside_reply_quote"}]},
        reply_critique(guidance="zqaside_reply_praise"),
    ],
}
"""Each role answers once in a form that does not fit, client and counsellor are each sent back once in round 1, and
sleep counts as evidence. The last answers are for the fork."""


@dataclass(frozen=True)
class Fork:
    """Asks on behalf of another dialogue."""

    caller: Caller

    async def ask(self, step: Step, prompt: Prompt, schema: type[Answered]) -> tuple[Answered, str]:
        return await self.caller.ask(replace(step, dialogue_id="fork"), prompt, schema)

    def native(self, role: Role) -> bool:
        return self.caller.native(role)

    def rehearsed(self, dialogue_id: str) -> bool:
        return self.caller.rehearsed(dialogue_id)


@dataclass(frozen=True)
class Grown:
    dialogue: Dialogue
    fork: Dialogue
    calls: list[StoredCall]
    fork_calls: list[StoredCall]
    requests: list[Json]


def overlay(folder: Path) -> Path:
    """A modality of our own, with canaries in its texts."""
    text = (SHIPPED / "modalities" / "person_centred.md").read_text(encoding="utf-8").replace("PCT", "OWN")
    changes = {
        "id: person_centred": "id: zqschool_id",
        "name: Person-centred counselling": "name: zqschool_name",
        "{id: paraphrase,": "{id: zqschool_technique,",
        "# Planner": "# Planner\nzqschool_planner",
        "# Therapist": "# Therapist\nzqschool_therapist",
        "# Critic": "# Critic\nzqschool_critic",
    }
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "modalities").mkdir(parents=True)
    (folder / "modalities" / "zqschool_id.md").write_text(text, encoding="utf-8")
    return folder


def with_other_therapist(folder: Path) -> Path:
    text = (SHIPPED / "roles" / "therapist.md").read_text(encoding="utf-8")
    (folder / "roles").mkdir()
    (folder / "roles" / "therapist.md").write_text(text.replace("# Task", "# Task\nTake your time."), encoding="utf-8")
    return folder


@pytest.fixture
async def grown(tmp_path: Path, scripted: Start) -> Grown:
    """A dialogue, and a fork of it with another therapist prompt on the same journal."""
    endpoint = scripted(SCRIPT)
    prompts = overlay(tmp_path / "prompts")
    rules = Rules(modalities=("zqschool_id", "act", "mi"))
    kept: list[Dialogue] = []
    async with table(tmp_path / "run", served(endpoint.base_url), rules, Library(prompts)) as (cast, caller, journal):
        await Grower(cast, caller, journal, [POST], open_dialogues=1, on_dialogue=kept.append).run()
        journal.flush()
        forked = replace(cast, asker=Fork(caller), library=Library(with_other_therapist(prompts)))
        fork = (await build_graph(forked).ainvoke({"post": POST}))["dialogue"]
    (dialogue,) = kept
    with Run(tmp_path / "run") as run:
        calls = list(run.calls(dialogue.id)), list(run.calls("fork"))
    return Grown(dialogue, fork, *calls, endpoint.requests())


def node(call: StoredCall) -> str:
    return call.path.split("/")[1]


def shown(call: StoredCall) -> set[str]:
    return set().union(*(canaries(text) for _, text in call.messages))


def every_canary() -> set[str]:
    school = {f"school_{part}" for part in ("id", "name", "technique", "planner", "therapist", "critic")}
    return canaries(json.dumps(SCRIPT)) | canaries(POST.model_dump_json()) | school


def allowed(node: str) -> set[str]:
    return {name for name in every_canary() if any(fnmatchcase(name, pattern) for pattern in SEEN[node].split())}


def asked(calls: Iterable[StoredCall], *nodes: str) -> str:
    return "\n".join(text for call in calls if node(call) in nodes for _, text in call.messages)


async def test_a_role_is_shown_what_its_row_names_and_nothing_else(grown: Grown, subtests: pytest.Subtests) -> None:
    assert grown.dialogue.status == "accepted", grown.dialogue.reasons
    assert all(canaries(text) for text in map(str, POST.model_dump().values()))
    assert [call.path for call in grown.calls if call.parsed is None] == [
        "0/plan/0/0",
        "1/patient/0/0",
        "1/hear/0/0",
        "1/diagnose/0/0",
        "1/verify/0/0",
        "1/respond/0/0",
        "1/critique/0/0",
    ]
    for name in SEEN:
        calls = [call for call in grown.calls if node(call) == name]
        with subtests.test("no more", node=name):
            leaks = {call.path: found for call in calls if (found := shown(call) - allowed(name))}
            assert not leaks, f"{calls[0].role} was shown {leaks}"
        with subtests.test("no less", node=name):
            assert allowed(name) <= set().union(*map(shown, calls))


async def test_a_fork_keeps_the_walls(grown: Grown, subtests: pytest.Subtests) -> None:
    assert grown.fork.status == "accepted", grown.fork.reasons
    assert {call.path for call in grown.fork_calls} >= {"0/plan/0/1", "1/hear/1/0", "1/respond/0/0", "2/critique/0/0"}
    paid = len(grown.requests) - len(grown.calls)
    assert 0 < paid < len(grown.fork_calls), "some calls are the parent's, some its own"
    for call in grown.fork_calls:
        with subtests.test(call.role, path=call.path):
            assert not shown(call) - allowed(node(call))


async def test_the_journal_holds_what_was_sent(grown: Grown) -> None:
    for call, request in zip(grown.calls, grown.requests[: len(grown.calls)], strict=True):
        assert list(call.messages) == [(message["role"], message["content"]) for message in request["messages"]]
        assert canaries(json.dumps(request)) <= allowed(node(call)), "nor may the schema tell"


async def test_what_was_sent_back_stays_with_the_call_that_answers_it(grown: Grown) -> None:
    second = [call for call in grown.calls if call.path.startswith("2/")]
    assert {node(call) for call in second} == {"patient", "hear", "diagnose", "verify", "respond", "critique"}
    passing = ("*sent_back", "*guidance", "misfit_*")
    assert not {name for call in second for name in shown(call) if any(fnmatchcase(name, p) for p in passing)}

    judged = [call for call in grown.calls if node(call) == "critique" and call.parsed]
    traces = [{name for name in shown(call) if name.startswith("reasoning")} for call in judged]
    assert traces == [{"reasoning_sent_back"}, {"reasoning_1"}, {"reasoning_2"}], "one trace, that of the draft"


async def test_verdicts_reach_therapist_and_critic_of_the_reply_alone(grown: Grown) -> None:
    turns = grown.dialogue.turns
    reasons = {finding.why for finding in turns[0].findings}
    assert len(turns[0].evidence) == len(turns[0].facts) == 1 and len(reasons) == 2
    assert (turns[1].evidence, [item.gate for item in turns[1].dropped]) == ((), ["second_reader"])
    for name in ("respond", "critique"):
        assert all(why in asked(grown.calls, name) for why in reasons)

    diagnostician = asked(grown.calls, "diagnose")
    assert "- mdd.A4 asserts s1\n- most_days=True s1" in diagnostician
    assert not any(why in diagnostician for why in reasons)

    second_reader = asked(grown.calls, "verify")
    assert "<items>\n1 | s1 asserts mdd.A4: sleeping far too little or too much\n" in second_reader
    assert not any(why in second_reader for why in reasons) and "<findings>" not in second_reader

    client_side = asked(grown.calls, "plan", "patient", "hear")
    assert not any(why in client_side for why in reasons)
    assert not re.findall(r"<findings>|<risk>|\b[a-z]+\.[A-Z]\d", client_side)
    patient = asked(grown.calls, "patient")
    assert not re.findall(r"\b(?:provisional|insufficient|contradicted|criteri\w+|DSM\S*|ICD\S*)|\[s\d", patient)


async def test_a_training_row_holds_spoken_words_and_their_traces(grown: Grown) -> None:
    row = chat_row(grown.dialogue, Library().roles["counsellor"])
    messages = row.pop("messages")
    spoken = [canaries(message["content"]) for message in messages]
    assert spoken == [set(), {"client_1"}, {"reply_1"}, {"client_2"}, {"reply_2"}]
    assert [canaries(m.get("reasoning_content", "")) for m in messages[2::2]] == [{"reasoning_1"}, {"reasoning_2"}]
    assert canaries(json.dumps(row)) == {"post_id", "post_source", "post_license", "school_id"}
