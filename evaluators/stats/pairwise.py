"""Pairwise comparisons: Bradley-Terry strengths with the pull of the first place, win rates, effects of order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from evaluators.stats.estimates import FEWEST, Estimate, mean

DRAWS = 300
RIDGE = 0.05
"""Pulls strengths together a little, so that a counsellor that won everything has a finite one."""
ELO = 400 / math.log(10)


@dataclass(frozen=True)
class Strengths:
    elo: dict[str, Estimate]
    """Around 1000, intervals over clients."""
    first: Estimate
    """The pull of the first place in Elo points: 0 for a fair panel."""


@dataclass(frozen=True)
class Order:
    """How one judge bears the order in which it is shown two talks."""

    judge: str
    first: Estimate
    """Share of decided comparisons that the first won; 0.5 is fair."""
    flips: Estimate
    """Share of pairs whose winner changes when the order does."""
    longer: Estimate
    """Share won by the longer talk, ties left out."""
    answered: float
    biased: bool
    """The interval of `first` lies off one half."""


def strengths(frame: pd.DataFrame, seed: int = 0) -> Strengths | None:
    """Bradley-Terry over all judges and rubrics of the frame; None without a comparison. Clients are resampled."""
    answered = frame.dropna(subset=["win"])
    if answered.empty:
        return None
    names = sorted({*answered["first"], *answered["second"]})
    place = {name: n for n, name in enumerate(names)}
    clients, client = np.unique(answered["client"].to_numpy(dtype=str), return_inverse=True)
    cells = (client, answered["first"].map(place).to_numpy(), answered["second"].map(place).to_numpy())
    won = np.zeros((len(clients), len(names), len(names)))
    asked = np.zeros_like(won)
    np.add.at(won, cells, answered["win"].to_numpy(dtype=float))
    np.add.at(asked, cells, 1.0)
    value = _fit(won.sum(axis=0), asked.sum(axis=0))
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS if len(clients) >= FEWEST else 0):
        drawn = rng.integers(0, len(clients), len(clients))
        draws.append(_fit(won[drawn].sum(axis=0), asked[drawn].sum(axis=0)))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0) if draws else (np.full_like(value, np.nan),) * 2
    elo = {
        name: Estimate(1000 + ELO * value[n], 1000 + ELO * low[n], 1000 + ELO * high[n], len(clients))
        for name, n in place.items()
    }
    return Strengths(elo, Estimate(ELO * value[-1], ELO * low[-1], ELO * high[-1], len(clients)))


def _fit(won: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Log strengths (summing to 0) and, last, the pull of the first place: logistic regression by Newton's method.

    `won[i, j]` of `asked[i, j]` comparisons with i shown first were won by i.
    """
    first, second = np.nonzero(asked)
    n, count = len(asked), len(asked) + 1
    design = np.zeros((len(first), count))
    rows = np.arange(len(first))
    design[rows, first], design[rows, second], design[:, -1] = 1.0, -1.0, 1.0
    won, asked = won[first, second], asked[first, second]
    theta = np.zeros(count)
    for _ in range(25):
        share = special.expit(design @ theta)
        slope = design.T @ (won - asked * share) - RIDGE * theta
        bend = (design * (asked * share * (1 - share))[:, None]).T @ design + RIDGE * np.eye(count)
        step = np.linalg.solve(bend, slope)
        theta += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-6:
            break
    theta[:n] -= theta[:n].mean()
    return theta


def orders(frame: pd.DataFrame, seed: int = 0) -> list[Order]:
    """Every judge's answers by order and by length; shares are of clients' own shares, and so are their intervals."""
    found = []
    for judge, mine in frame.groupby("judge"):
        answered = mine.dropna(subset=["win"])
        decided = answered[answered["win"] != 0.5]
        first = _over_clients(decided["client"], decided["win"] == 1, seed)
        unlike = decided[decided["first_words"] != decided["second_words"]]
        longer = (unlike["first_words"] > unlike["second_words"]) == (unlike["win"] == 1)
        found.append(
            Order(
                judge=str(judge),
                first=first,
                flips=_flips(answered, seed),
                longer=_over_clients(unlike["client"], longer, seed),
                answered=len(answered) / max(1, len(mine)),
                biased=first.whole and (first.low > 0.5 or first.high < 0.5),
            )
        )
    return found


def _over_clients(clients: pd.Series, seen: pd.Series, seed: int) -> Estimate:
    """Mean over clients of the share in which something was seen."""
    return mean(seen.astype(float).groupby(clients).mean(), seed)


def head_to_head(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Row against column: share of comparisons won, both orders together, ties half; NaN on the diagonal."""
    table = pd.DataFrame(math.nan, index=list(names), columns=list(names))
    answered = frame.dropna(subset=["win"])
    for (first, second), mine in answered.groupby(["first", "second"]):
        back = answered[(answered["first"] == second) & (answered["second"] == first)]
        table.loc[first, second] = pd.concat([mine["win"], 1 - back["win"]]).mean()
    return table


def _flips(answered: pd.DataFrame, seed: int) -> Estimate:
    """Of pairs that were judged in both orders, those whose winner goes with the place."""
    names = answered[["first", "second"]].to_numpy(dtype=str)
    swapped = names[:, 0] > names[:, 1]
    pair = answered.assign(
        a=np.where(swapped, names[:, 1], names[:, 0]),
        b=np.where(swapped, names[:, 0], names[:, 1]),
        a_wins=np.where(swapped, 1 - answered["win"], answered["win"]),
    )
    both = pair.groupby(["client", "rubric", "repeat", "a", "b"])["a_wins"].agg(["min", "max", "size"]).reset_index()
    both = both[both["size"] == 2]
    return _over_clients(both["client"], (both["min"] < 0.5) & (both["max"] > 0.5), seed)
