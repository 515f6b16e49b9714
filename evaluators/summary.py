"""Everything that a report says, computed once from a finished evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from agents.markers import Counted
from clinical import Knowledge
from evaluators import signals
from evaluators.judge_check import Check, kept
from evaluators.records import Outcome, Talk
from evaluators.rubric import Rubric
from evaluators.stats import agreement, bias, estimates, frames, pairwise
from evaluators.stats.estimates import Estimate
from evaluators.store import Evaluation
from prompts.library import Library

Measured = dict[str, dict[str, Estimate]]
"""What was counted -> counsellor -> its mean over clients."""
CLEARLY_SPLIT = 0.10
"""Share of flipped pairs above which a comparison should not rank anybody."""


@dataclass(frozen=True)
class Score:
    """One counsellor on one rubric."""

    counsellor: str
    rubric: str
    estimate: Estimate
    passing: Estimate
    """The same over talks that pass the safety gate."""


@dataclass(frozen=True)
class Safety:
    """How often one counsellor held everything that a case asks for."""

    counsellor: str
    group: str
    """An area of the safety set, or 'all'."""
    cases: Estimate
    """Cases of which every item held."""
    items: Estimate
    """Items that held."""
    unknown: int
    """Items of which nobody could say."""


@dataclass(frozen=True)
class Summary:
    evaluation: Evaluation
    rubrics: tuple[Rubric, ...]
    counsellors: tuple[str, ...]
    """The best first, by strength or by the mean over the dimensions."""
    scores: tuple[Score, ...]
    differences: dict[str, list[estimates.Difference]]
    """Rubric -> every pair of counsellors."""
    alphas: dict[str, Estimate]
    """Rubric, and rubric/item -> agreement of the panel."""
    iccs: dict[str, Estimate]
    """By the same keys: ICC(A,1) of single judges."""
    kappas: dict[str, float]
    """By the same keys: quadratic weighted kappa, the mean over pairs of judges."""
    standings: list[agreement.Standing]
    missing: pd.DataFrame
    """Shares of answers that are no score, by judge."""
    unscored: pd.DataFrame
    """The same by counsellor."""
    strengths: pairwise.Strengths | None
    heads: pd.DataFrame | None
    orders: list[pairwise.Order]
    lengths: dict[str, bias.Length]
    slopes: list[bias.Slope]
    own_good: list[bias.OwnGood]
    safety: tuple[Safety, ...]
    failures: tuple[Outcome, ...]
    """Items that did not hold, the most dangerous cases first."""
    gate: dict[str, Estimate]
    """Counsellor -> share of clients whose talk passes the safety gate."""
    signals: Measured
    """Deterministic signals."""
    markers: Measured
    """The share of a talk's replies that show a marker; by the marker's title, and only those that somebody shows."""
    talks: pd.DataFrame
    dimension: pd.DataFrame
    """counsellor, client, rubric, score."""
    checks: dict[str, Check]
    """Rubric, and rubric/item -> how the panel stands to people; {} while nobody has rated."""

    @property
    def shown(self) -> tuple[Rubric, ...]:
        """The rubrics that are averaged; pass_fail sets stand apart."""
        return tuple(rubric for rubric in self.rubrics if not rubric.binary)

    def score(self, counsellor: str, rubric: str) -> Score:
        return next(s for s in self.scores if (s.counsellor, s.rubric) == (counsellor, rubric))

    def word(self, rubric: str) -> str:
        """How far the panel agrees on a rubric: good, fair, poor, unknown. Poor too if people and panel do not."""
        if rubric in self.checks and self.checks[rubric].advice.startswith("do not use"):
            return "poor"
        return agreement.word(self.alphas[rubric])


def summarise(evaluation: Evaluation, rubrics: Sequence[Rubric], knowledge: Knowledge, library: Library) -> Summary:
    head = evaluation.header
    ordinary = [talk for talk in evaluation.talks if talk.kind != "safety"]
    names = {talk.counsellor for talk in evaluation.talks}
    ids = {talk.id for talk in ordinary}
    ratings = frames.ratings_frame([rating for rating in evaluation.ratings if rating.talk in ids])
    averaged = [rubric for rubric in rubrics if not rubric.binary]
    scale = ratings[ratings["rubric"].isin([rubric.id for rubric in averaged])]
    judged = frames.by_judge(scale, rubrics)
    items = frames.by_item(judged)
    dimension = frames.by_rubric(items)
    talks = frames.talk_frame(ordinary)
    passes = _gate(items, rubrics)
    compared = frames.preferences_frame(evaluation.preferences)
    strengths = pairwise.strengths(compared, head.seed)
    order = _ranked(names, strengths, dimension)
    table = judged.pivot_table(index=["counsellor", "client", "item"], columns="judge", values="score")
    told = frames.missing(ratings, ["judge"]) if len(ratings) else pd.DataFrame()
    scored = dict(zip(told["judge"], told["scored"], strict=True)) if len(told) else {}
    models = _models(evaluation)
    units = dict(_units(judged, averaged))
    return Summary(
        evaluation=evaluation,
        rubrics=tuple(rubrics),
        counsellors=order,
        scores=tuple(_score(dimension, passes, name, r.id, head.seed) for name in order for r in averaged),
        differences={r.id: _differences(dimension, r.id, order, head.seed) for r in averaged},
        alphas={key: agreement.alpha(each, seed=head.seed) for key, each in units.items()},
        iccs={key: agreement.icc(each, head.seed) for key, each in units.items()},
        kappas={key: agreement.kappa_of_pairs(each) for key, each in units.items()},
        standings=agreement.standings(table, scored, head.seed) if len(table) and table.shape[1] > 1 else [],
        missing=told,
        unscored=frames.missing(ratings, ["counsellor"]) if len(ratings) else pd.DataFrame(),
        strengths=strengths,
        heads=pairwise.head_to_head(compared, order) if len(compared) else None,
        orders=pairwise.orders(compared),
        lengths=_lengths(dimension, talks, averaged),
        slopes=bias.length_slopes(scale, head.seed) if table.shape[1] > 1 else [],
        own_good=bias.own_good(judged, models, head.seed) if table.shape[1] > 1 else [],
        safety=tuple(_safety(evaluation.outcomes, order)),
        failures=tuple(sorted((o for o in evaluation.outcomes if o.passed is False), key=lambda o: (-o.level, o.case))),
        gate={name: _passing(passes, name) for name in order} if passes else {},
        signals=_signals(ordinary, knowledge, library, head.seed),
        markers=_markers(ordinary, Counted.of(library, knowledge), head.seed),
        talks=talks,
        dimension=dimension,
        checks={f"{one.rubric}/{one.item}".rstrip("/"): one for one in kept(evaluation.folder)},
    )


def _score(dimension: pd.DataFrame, passes: dict[tuple[str, str], bool], name: str, rubric: str, seed: int) -> Score:
    mine = dimension[(dimension["counsellor"] == name) & (dimension["rubric"] == rubric)]
    through = mine[[passes.get((name, client), True) for client in mine["client"]]]
    return Score(name, rubric, estimates.mean(mine["score"], seed), estimates.mean(through["score"], seed))


def _differences(dimension: pd.DataFrame, rubric: str, order: Sequence[str], seed: int) -> list[estimates.Difference]:
    table = frames.wide(dimension[dimension["rubric"] == rubric])
    return estimates.differences(table[[name for name in order if name in table]], seed)


def _units(judged: pd.DataFrame, rubrics: Sequence[Rubric]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rubric, and rubric/item -> one row a unit, one column a judge."""
    for rubric in rubrics:
        mine = judged[judged["rubric"] == rubric.id]
        parts = {rubric.id: mine}
        parts |= {f"{rubric.id}/{item.id}": mine[mine["item"] == item.id] for item in rubric.matter.items}
        for key, part in parts.items():
            yield key, part.pivot_table(index=["counsellor", "client", "item"], columns="judge", values="score")


def _gate(items: pd.DataFrame, rubrics: Sequence[Rubric]) -> dict[tuple[str, str], bool]:
    """(counsellor, client) -> whether no item that is a gate fell to its mark; {} if no item is one."""
    marks = {item.id: item.fails_at for rubric in rubrics for item in rubric.matter.items if item.fails_at}
    held: dict[tuple[str, str], bool] = {}
    for row in items[items["item"].isin(list(marks))].itertuples():
        key = (str(row.counsellor), str(row.client))
        held[key] = held.get(key, True) and not (float(row.score) <= marks[str(row.item)])  # type: ignore[arg-type]
    return held


def _passing(passes: dict[tuple[str, str], bool], name: str) -> Estimate:
    mine = [held for (counsellor, _), held in passes.items() if counsellor == name]
    return estimates.proportion(sum(mine), len(mine))


def _lengths(dimension: pd.DataFrame, talks: pd.DataFrame, rubrics: Sequence[Rubric]) -> dict[str, bias.Length]:
    found = {}
    for rubric in rubrics:
        mine = dimension[dimension["rubric"] == rubric.id].merge(
            talks[["counsellor", "client", "words"]], on=["counsellor", "client"]
        )
        if (length := bias.length(mine)) is not None:
            found[rubric.id] = length
    return found


def _safety(outcomes: Sequence[Outcome], order: Sequence[str]) -> list[Safety]:
    found = []
    areas = ["all", *dict.fromkeys(outcome.area for outcome in outcomes)] if outcomes else []
    for name in order:
        for area in areas:
            mine = [o for o in outcomes if o.counsellor == name and area in ("all", o.area)]
            known = [o for o in mine if o.passed is not None]
            cases: dict[str, bool] = {}
            for outcome in known:
                cases[outcome.case] = cases.get(outcome.case, True) and bool(outcome.passed)
            held = sum(bool(o.passed) for o in known)
            found.append(
                Safety(
                    counsellor=name,
                    group=area,
                    cases=estimates.proportion(sum(cases.values()), len(cases)),
                    items=estimates.proportion(held, len(known)),
                    unknown=len(mine) - len(known),
                )
            )
    return found


def _signals(talks: Sequence[Talk], knowledge: Knowledge, library: Library, seed: int) -> Measured:
    modality = library.modality(sorted(library.modalities)[0])
    return _measured(talks, lambda talk: vars(signals.of_talk(knowledge, modality, talk)), signals.NAMES, seed)


def _markers(talks: Sequence[Talk], counted: Counted, seed: int) -> Measured:
    found = _measured(talks, lambda talk: signals.markers(counted, talk), tuple(counted.known), seed)
    return {
        counted.known[name].title: each
        for name, each in found.items()
        if any(estimate.value > 0 for estimate in each.values())
    }


def _measured(
    talks: Sequence[Talk], measure: Callable[[Talk], Mapping[str, float]], names: Sequence[str], seed: int
) -> Measured:
    """Talks with one client are averaged first."""
    rows = [
        {"counsellor": talk.counsellor, "client": talk.client, **measure(talk)}
        for talk in talks
        if talk.own and not talk.failed
    ]
    frame = pd.DataFrame(rows, columns=["counsellor", "client", *names])
    means = frame.groupby(["counsellor", "client"])[list(names)].mean()
    return {
        name: {str(who): estimates.mean(values, seed) for who, values in means[name].groupby("counsellor")}
        for name in names
    }


def _ranked(names: set[str], strengths: pairwise.Strengths | None, dimension: pd.DataFrame) -> tuple[str, ...]:
    means = dimension.groupby("counsellor")["score"].mean().to_dict()

    def rank(name: str) -> tuple[float, float, str]:
        elo = strengths.elo[name].value if strengths and name in strengths.elo else -math.inf
        mean = means.get(name, math.nan)
        return -elo, -(mean if not math.isnan(mean) else -math.inf), name

    return tuple(sorted(names, key=rank))


def _models(evaluation: Evaluation) -> dict[str, str]:
    """Judge or counsellor -> the model behind it."""
    seats = {seat.name: seat.model for seat in evaluation.header.seats}
    return seats | {name: seats.get(name.partition(":")[0], name) for name in evaluation.header.counsellors}
