"""One evaluation, top to bottom: clients, talks, scores, comparisons, safety cases.

Nothing is kept but the calls: the same command asks everything again, and the journal answers what was paid for. So a
killed evaluation goes on, and its results are a function of settings, seed and answers alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from agents.cast import Cast
from evaluators import clients, safety
from evaluators.counsellors import Counsellor, Maker, split
from evaluators.judges import Judge, moments, pairs
from evaluators.records import Client, Kind, Outcome, Preference, Rating, Talk
from evaluators.rubric import Rubric
from evaluators.table import Table
from evaluators.talks import as_dialogue, hold
from psyllm.errors import Failure, PsyllmError
from psyllm.records import Post

T = TypeVar("T")
Job = Callable[[], Awaitable[T]]
Progress = Callable[[str, int, int], None]
"""Stage, done, total."""


@dataclass(frozen=True)
class Spec:
    """What is evaluated, by whom, how often. All of it is part of the run's fingerprint."""

    counsellors: tuple[str, ...]
    """MODEL:STRATEGY."""
    judges: tuple[str, ...]
    client_model: str
    kind: Kind = "interactive"
    rounds: int = 3
    variants: int = 1
    """Clients made from one post."""
    repeats: int = 1
    """Scorings of one moment by one judge."""
    moments: int = 2
    """Most replies of a talk on which reply items are scored."""
    compare: bool = True
    """Whether talks with one client are compared pairwise, in both orders."""
    safety: bool = True
    seed: int = 0


@dataclass
class Results:
    clients: list[Client] = field(default_factory=list)
    unsuitable: dict[str, str] = field(default_factory=dict)
    """Post id -> why the planner made no client of it."""
    talks: list[Talk] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


async def run(
    table: Table,
    spec: Spec,
    rubrics: Sequence[Rubric],
    makers: Mapping[str, Maker],
    posts: Sequence[Post],
    fixed: Sequence[Client],
    given: Sequence[Talk],
    width: int,
    progress: Progress,
) -> Results:
    """Evaluate. `fixed` are clients with written words, `given` dialogues that exist already.

    Raises Failure when the run must stop: a dead endpoint, a full disk, Ctrl-C.
    """
    results = Results()
    cast = table.cast(spec.client_model, clients.client_rules(spec.seed, spec.rounds))
    seats = {
        name: makers[split(name, tuple(makers))[1]](table, split(name, tuple(makers))[0]) for name in spec.counsellors
    }

    async def all_of(stage: str, jobs: Iterable[Job[T]]) -> list[T]:
        return await spread(jobs, width, partial(progress, stage))

    def talks(kind: Kind, people: Sequence[Client]) -> Iterator[Job[Talk]]:
        return (partial(_talk, table, cast, spec, kind, name, seats[name], each) for each in people for name in seats)

    wanted = [(post, variant) for post in posts for variant in range(spec.variants)]
    made = await all_of("clients", (partial(_prepared, cast, post, variant, spec.rounds) for post, variant in wanted))
    for (post, _), client in zip(wanted, made, strict=True):
        if isinstance(client, Client):
            results.clients.append(client)
        else:
            results.unsuitable[post.id] = client
    results.clients += fixed
    for talk in given:
        table.caller.journal.finish(as_dialogue(talk, spec.seed, {"therapist": talk.counsellor}))
    results.talks = [*given, *await all_of("talks", talks(spec.kind, results.clients))]
    judges = [Judge(name, table.seat(name), _hidden(table, spec)) for name in spec.judges]
    whole = [talk for talk in results.talks if talk.own and not talk.failed]
    results.ratings = await all_of("scores", _scores(judges, spec, rubrics, whole))
    if spec.compare:
        results.preferences = await all_of("comparisons", _comparisons(judges, spec, rubrics, whole))
    if spec.safety and seats:
        cases = safety.cases()
        held = await all_of("safety cases", talks("safety", [case.client(table.knowledge) for case in cases]))
        results.talks += held
        ratings = await all_of("safety scores", _case_scores(judges, cases, held))
        results.ratings += ratings
        results.outcomes = safety.outcomes(table.knowledge, table.library, cases, held, ratings)
    return results


async def _prepared(cast: Cast, post: Post, variant: int, rounds: int) -> Client | str:
    try:
        return await clients.prepare(cast, post, variant, rounds)
    except Failure as failure:
        if failure.fatal or failure.boundary == "stopped":
            raise
        return f"{failure.boundary}: {failure}"[:200]


async def _talk(
    table: Table, cast: Cast, spec: Spec, kind: Kind, name: str, counsellor: Counsellor, client: Client
) -> Talk:
    talk = await hold(table.caller, cast, kind, name, counsellor, client, spec.rounds)
    models = dict(cast.models) | {"therapist": name}
    table.caller.journal.finish(as_dialogue(talk, spec.seed, models, client))
    return talk


def _scores(
    judges: Sequence[Judge], spec: Spec, rubrics: Sequence[Rubric], talks: Sequence[Talk]
) -> Iterator[Job[Rating]]:
    return (
        partial(judge.score, talk, rubric, item, number, repeat)
        for talk in talks
        for rubric in rubrics
        for item in rubric.matter.items
        for number in moments(talk, item, spec.moments)
        for judge in judges
        for repeat in range(spec.repeats)
    )


def _comparisons(
    judges: Sequence[Judge], spec: Spec, rubrics: Sequence[Rubric], talks: Sequence[Talk]
) -> Iterator[Job[Preference]]:
    return (
        partial(judge.compare, rubric, first, second, repeat)
        for first, second in pairs(talks)
        for rubric in rubrics
        if rubric.matter.family == "dimension"
        for judge in judges
        for repeat in range(spec.repeats)
    )


def _case_scores(judges: Sequence[Judge], cases: Sequence[safety.Case], talks: Sequence[Talk]) -> Iterator[Job[Rating]]:
    wanted = {case.id: safety.expected(case) for case in cases}
    return (
        partial(judge.score, talk, rubric, item, talk.own[-1].round, 0, expected=True)
        for talk in talks
        if talk.own
        for rubric, item in wanted[talk.client]
        for judge in judges
    )


async def spread(jobs: Iterable[Job[T]], width: int, done: Callable[[int, int], None]) -> list[T]:
    """The jobs' results in order, at most `width` at a time. Raises the first PsyllmError that a job raised."""
    waiting = list(jobs)
    results: dict[int, T] = {}
    numbered = iter(enumerate(waiting))

    async def work() -> None:
        for number, job in numbered:
            results[number] = await job()
            done(len(results), len(waiting))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(width, len(waiting))):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        ours = failed.subgroup(PsyllmError)
        if ours is None:
            raise
        raise _first(ours) from None
    return [results[number] for number in range(len(waiting))]


def _first(group: BaseExceptionGroup[PsyllmError]) -> PsyllmError:
    """The failure that stopped the rest, rather than a `stopped` that followed from it."""
    flat: list[PsyllmError] = []
    for error in group.exceptions:
        flat += [_first(error)] if isinstance(error, BaseExceptionGroup) else [error]
    return next((e for e in flat if not (isinstance(e, Failure) and e.boundary == "stopped")), flat[0])


def _hidden(table: Table, spec: Spec) -> tuple[str, ...]:
    """What would tell a judge who spoke; names so short that they are words of everyday are left."""
    names = {endpoint.settings.model for endpoint in table.endpoints.values()} | {*spec.counsellors, *spec.judges}
    return tuple(sorted(name for name in names if len(name) > 3))
