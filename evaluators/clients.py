"""Simulated clients: the planner's hidden case of a held-out post, a style and a resistance drawn for it.

A client and its opening words are made once, before any talk, so that every counsellor meets the same person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import yaml

from agents import patient, planner
from agents.cast import Cast
from clinical import Knowledge
from evaluators.files import HERE
from evaluators.records import Client
from psyllm.messages import Step
from psyllm.records import CasePlan, Post, RoundPlan, Sentence, Turn
from psyllm.settings import Rules

PLANNED = 8
"""Most rounds that a plan holds; in later ones the client goes on with what first brought them."""


@cache
def manners() -> dict[str, dict[str, Any]]:
    """styles and resistance of clients.yaml."""
    loaded: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "clients.yaml").read_text(encoding="utf-8"))
    return loaded


def client_rules(seed: int, rounds: int) -> Rules:
    """Bounds under which clients are planned: as many rounds for everybody."""
    planned = min(rounds, PLANNED)
    return Rules(seed=seed, min_rounds=planned, max_rounds=planned)


def step_of(client: str, post_id: str, variant: int, number: int, node: str) -> Step:
    return Step(dialogue_id=client, post_id=post_id, repeat=variant, round=number, node=node, attempt=0)


def client_id(post_id: str, variant: int) -> str:
    return f"{post_id}~{variant}" if variant else post_id


async def prepare(cast: Cast, post: Post, variant: int, rounds: int) -> Client | str:
    """A client and its opening words: two calls. A post that suits no conversation gives the planner's reason instead.

    Raises Failure as Caller.ask does.
    """
    own = client_id(post.id, variant)
    candidates = tuple(sorted(cast.library.modalities.values(), key=lambda modality: modality.matter.id))
    answer = await planner.plan(cast, step_of(own, post.id, variant, 0, "plan"), post, candidates)
    if not answer.suitable:
        return answer.unsuitable_because or "the planner called it unsuitable"
    style, resistance = _drawn(cast.rules.seed, post.id, variant)
    plan = _mannered(planner.case_plan(answer), style, resistance, rounds)
    client = Client(id=own, post_id=post.id, variant=variant, style=style, resistance=resistance, plan=plan, history=())
    return client.model_copy(update={"history": (await speak(cast, client, ()),)})


async def speak(cast: Cast, client: Client, turns: Sequence[Turn]) -> Turn:
    """The client's next turn, with the danger that code reads from the words so far."""
    if client.plan is None:
        raise ValueError(f"client {client.id} has fixed words")
    number = len(turns) + 1
    step = step_of(client.id, client.post_id, client.variant, number, "patient")
    spoken = await patient.speak(cast, step, client.plan, turns, ())
    first = turns[-1].client[-1].n + 1 if turns else 1
    words = tuple(Sentence(n=n, text=text) for n, text in enumerate(spoken.sentences, first))
    return graded(cast.knowledge, (*turns, Turn(round=number, client=words)))[-1]


def graded(knowledge: Knowledge, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns with risk and mode as the words alone raise them: the same yardstick for every counsellor."""
    seen: list[Turn] = []
    for turn in turns:
        bare = turn.model_copy(update={"risks": (), "mode": "ordinary"})
        risks = knowledge.grade([], (*seen, bare))
        seen.append(bare.model_copy(update={"risks": risks, "mode": knowledge.mode(risks)}))
    return tuple(seen)


def _drawn(seed: int, post_id: str, variant: int) -> tuple[str, str]:
    """Style and resistance: variants of one post go through all pairs, from a place that seed and post decide."""
    pairs = list(_pairs())
    start = int.from_bytes(hashlib.sha256(f"{seed}/{post_id}".encode()).digest()[:4], "big")
    return pairs[(start + variant * 7) % len(pairs)]


def _pairs() -> Iterator[tuple[str, str]]:
    found = manners()
    return ((style, resistance) for style in found["styles"] for resistance in found["resistance"])


def _mannered(plan: CasePlan, style: str, resistance: str, rounds: int) -> CasePlan:
    found = manners()
    profile = plan.profile.model_copy(
        update={"disclosure": found["styles"][style], **found["resistance"][resistance]},
    )
    more = (RoundPlan(focus=plan.presenting_problem),) * (rounds - len(plan.rounds))
    return plan.model_copy(update={"profile": profile, "rounds": (*plan.rounds[:rounds], *more)})
