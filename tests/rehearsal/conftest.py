"""A player of whole dialogues on the real server process, with the schemas of agents/ and prompts/blocks.py."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import pytest
from pydantic import BaseModel

from agents.critic import client_critique_schema, reply_critique_schema
from agents.diagnostician import diagnosis_schema
from agents.patient import PatientReply
from agents.planner import case_plan, plan_schema
from agents.therapist import reply_schema
from clinical import Knowledge
from prompts.blocks import TRANSCRIPT_END, client_block, findings_block, post_block, risk_block, transcript
from psyllm.records import SAFETY_PROTOCOL, CasePlan, Mode, Post, Reply, Sentence, Turn
from psyllm.rehearsal import RehearsalProcess

Model = TypeVar("Model", bound=BaseModel)
Json = dict[str, Any]

TECHNIQUES = {
    "cbt": ("thought_record", "behavioural_activation", "graded_exposure", "problem_solving", "worry_time"),
    "act": ("dropping_anchor", "leaves_on_stream", "values_clarification"),
    "mi": ("double_sided_reflection", "open_question", "a_technique_of_a_user"),
}
POSTS = (
    "I can't sleep and my boss has started to notice. I'm so tired all day and I feel useless at the office.",
    "My mother died in March and I still ring her number. I cry in the car. I don't enjoy anything any more.",
    "I think about killing myself most evenings. I feel worthless and my girlfriend has stopped asking.",
    "I worry about everything, my exams, my parents, my health. My heart races and I can't concentrate on the page.",
    "Two beers turn into eight. I keep drinking at night, I promised my wife to cut down and I feel ashamed.",
    "Since the accident I keep seeing the headlights. I avoid the road, I have nightmares and I jump at every noise.",
    "I moved here for work and I'm lonely. Nobody writes first. I eat alone and feel numb at parties.",
    "I wish I wouldn't not wake up so tired. I'm angry at my brother, I snapped at him and I hate it.",
)


def body_of(schema: type[BaseModel], *parts: str, seed: int = 0, system: str = "You play a part.") -> Json:
    """A chat request as the app sends it."""
    shape = schema.model_json_schema()
    return {
        "model": "rehearsal",
        "seed": seed,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": "\n\n".join(parts)}],
        "response_format": {"type": "json_schema", "json_schema": {"name": shape["title"], "schema": shape}},
    }


def content(completion: Json) -> str:
    return str(completion["choices"][0]["message"]["content"])


@dataclass
class Table:
    """Asks the server; keeps every request with its completion."""

    server: RehearsalProcess
    http: httpx.Client
    knowledge: Knowledge
    calls: list[tuple[Json, Json]] = field(default_factory=list)

    def send(self, body: Json) -> Json:
        answer: Json = self.http.post(f"{self.server.base_url}/chat/completions", json=body).raise_for_status().json()
        self.calls.append((body, answer))
        return answer

    def ask(self, schema: type[Model], *parts: str, seed: int = 0) -> Model:
        return schema.model_validate_json(content(self.send(body_of(schema, *parts, seed=seed))))

    def plan(self, text: str, seed: int = 0) -> Any:
        order = random.Random(seed).sample(list(TECHNIQUES), len(TECHNIQUES))
        schema = plan_schema(frozenset(order), order[0], 2, 4)
        return self.ask(schema, post_block(Post(id="p", text=text)), f"Candidates: {', '.join(order)}.", seed=seed)

    def speak(self, plan: CasePlan, turns: Sequence[Turn], seed: int = 0) -> Turn:
        parts = (client_block(plan.profile, plan.rounds), *transcript(turns, numbered=False), TRANSCRIPT_END, "Speak.")
        said = self.ask(PatientReply, *parts, seed=seed).sentences
        first = sum(len(turn.client) for turn in turns) + 1
        return Turn(round=len(turns) + 1, client=tuple(Sentence(n=n, text=text) for n, text in enumerate(said, first)))

    def assess(self, turns: Sequence[Turn], seed: int = 0) -> Turn:
        """The last turn with its evidence, findings and risks, through the real gates and engine."""
        now = turns[-1]
        schema = diagnosis_schema(self.knowledge, self.knowledge.shortlist(turns))
        proposed = self.ask(schema, *transcript(turns, numbered=True), TRANSCRIPT_END, "Diagnose.", seed=seed)
        evidence, facts, dropped = self.knowledge.gate(proposed.claims(), turns)
        standing = [e for turn in turns for e in turn.evidence], [f for turn in turns for f in turn.facts]
        findings = self.knowledge.assess([*standing[0], *evidence], [*standing[1], *facts])
        risks = self.knowledge.grade((), turns)
        return now.model_copy(
            update={
                "evidence": evidence,
                "facts": facts,
                "dropped": dropped,
                "findings": findings,
                "risks": risks,
                "mode": self.knowledge.mode(risks),
            }
        )

    def respond(self, modality: str, turns: Sequence[Turn], *extra: str, seed: int = 0) -> Reply:
        now = turns[-1]
        parts = (*_seen(turns), *extra)
        answer: Any = self.ask(reply_schema(techniques(modality, now.mode), native=False), *parts, seed=seed)
        return Reply(reasoning=answer.reasoning, technique=answer.technique, text=answer.text)

    def judge(self, plan: CasePlan, turns: Sequence[Turn], reply: Reply, seed: int = 0) -> None:
        heard = transcript(turns, numbered=True)
        self.ask(client_critique_schema(), client_block(plan.profile, plan.rounds), *heard, TRANSCRIPT_END, seed=seed)
        draft = f"<reasoning>\n{reply.reasoning}\n</reasoning>\n\n<technique>{reply.technique}</technique>"
        schema = reply_critique_schema(("F0a", "F0b"), ("X0a",))
        self.ask(schema, *_seen(turns), draft, f"<reply>\n{reply.text}\n</reply>", seed=seed)

    def play(self, text: str, seed: int = 0) -> tuple[CasePlan, list[Turn]]:
        """A whole dialogue over one post."""
        plan = case_plan(self.plan(text, seed))
        turns: list[Turn] = []
        for _ in plan.rounds:
            turns.append(self.speak(plan, turns, seed))
            turns[-1] = self.assess(turns, seed)
            reply = self.respond(plan.modality.chosen, turns, seed=seed)
            self.judge(plan, turns, reply, seed)
            turns[-1] = turns[-1].model_copy(update={"reply": reply})
        return plan, turns


def techniques(modality: str, mode: Mode) -> tuple[str, ...]:
    return (SAFETY_PROTOCOL,) if mode in ("safety_first", "emergency") else TECHNIQUES[modality]


def _seen(turns: Sequence[Turn]) -> tuple[str, ...]:
    now = turns[-1]
    return (
        *transcript(turns, numbered=True),
        TRANSCRIPT_END,
        findings_block(now.findings),
        risk_block(now.risks, now.mode, (), ()),
    )


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    return Knowledge.load()


@pytest.fixture(scope="session")
def sound(knowledge: Knowledge) -> Iterator[Table]:
    """One server without faults for all tests."""
    with RehearsalProcess(fault_rate=0) as server, httpx.Client(timeout=20) as http:
        yield Table(server, http, knowledge)


@pytest.fixture
def seat(knowledge: Knowledge) -> Iterator[Callable[..., Table]]:
    """Starts servers with the given options; they end with the test."""
    servers: list[RehearsalProcess] = []
    with httpx.Client(timeout=20) as http:

        def start(**options: Any) -> Table:
            servers.append(RehearsalProcess(**options))
            return Table(servers[-1], http, knowledge)

        yield start
        for server in servers:
            server.stop()
