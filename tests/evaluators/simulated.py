"""Simulated panels whose truth is known: judges with a shift, noise, a taste for length or for one counsellor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Sim:
    """One judge."""

    name: str
    shift: float = 0.0
    noise: float = 0.5
    per_doubling: float = 0.0
    """Points it gives for each doubling of the words."""
    own: str = ""
    """A counsellor to whom it gives 0.8 points more."""
    broken: bool = False
    """It rolls dice."""


def ratings(
    rng: np.random.Generator,
    truth: Mapping[str, float],
    judges: Sequence[Sim],
    *,
    clients: int = 30,
    items: int = 4,
    words: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """One row a rating: counsellor, client, rubric, item, judge, talk, round, score, words."""
    rows = []
    for c in range(clients):
        ease = rng.normal(0, 0.4)
        for name, level in truth.items():
            length = (words or {}).get(name, 60.0) * 2 ** rng.normal(0, 0.5)
            for i in range(items):
                merit = level + ease + rng.normal(0, 0.5)
                for judge in judges:
                    felt = merit + judge.shift + rng.normal(0, judge.noise)
                    felt += judge.per_doubling * np.log2(length / 60) + 0.8 * (judge.own == name)
                    score = rng.integers(1, 6) if judge.broken else int(np.clip(round(felt), 1, 5))
                    rows.append((name, f"c{c}", "r", f"I{i}", judge.name, f"{name}-{c}", 1, float(score), int(length)))
    columns = ["counsellor", "client", "rubric", "item", "judge", "talk", "round", "score", "words"]
    return pd.DataFrame(rows, columns=columns)


def comparisons(
    rng: np.random.Generator,
    strength: Mapping[str, float],
    *,
    clients: int = 40,
    judge: str = "fair",
    pull: float = 0.0,
    per_doubling: float = 0.0,
) -> pd.DataFrame:
    """Every pair in both orders. `strength` and `pull` (of the first place) are log odds."""
    rows = []
    for c in range(clients):
        length = {name: 60 * 2 ** rng.normal(0, 0.7) for name in strength}
        for first in strength:
            for second in strength:
                if first == second:
                    continue
                odds = strength[first] - strength[second] + pull
                odds += per_doubling * np.log2(length[first] / length[second])
                win = float(rng.random() < 1 / (1 + np.exp(-odds)))
                rows.append((f"c{c}", "r", judge, first, second, 0, win, int(length[first]), int(length[second])))
    columns = ["client", "rubric", "judge", "first", "second", "repeat", "win", "first_words", "second_words"]
    return pd.DataFrame(rows, columns=columns)
