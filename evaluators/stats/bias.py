"""What a lead may owe to something else: length, and a judge's love for its own model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

from evaluators.stats.estimates import FEWEST, Estimate, mean

DRAWS = 300
KNOWN_FROM = 12
"""Fewest dialogues of which a slope on length is told."""


@dataclass(frozen=True)
class Length:
    """The scores of one rubric, with the length of replies in the model."""

    slope: Estimate
    """Points for each doubling of the words, within client and counsellor."""
    raw: dict[str, float]
    """Counsellor -> mean minus the mean of all, on the same clients."""
    controlled: dict[str, float]
    """The same at equal length."""

    def share(self, counsellor: str) -> float:
        """Part of the lead that length explains, 0 to 1; NaN for a lead below a tenth of a point."""
        raw, left = self.raw[counsellor], self.controlled[counsellor]
        return math.nan if abs(raw) < 0.1 else float(np.clip(1 - left / raw, 0, 1))


@dataclass(frozen=True)
class Slope:
    """How a judge's scores rise with length where the scores of the others do not."""

    judge: str
    slope: Estimate
    """Points for each doubling of the words, at equal score by the rest of the panel."""
    biased: bool
    """Beyond a tenth of a point, and the steepest of the panel: one such judge tilts the others' the other way."""


@dataclass(frozen=True)
class OwnGood:
    """Whether a judge is kinder to a counsellor of its own model than the others are."""

    judge: str
    counsellor: str
    gain: Estimate
    """Its lead for its own over the panel, less its lead for the rest; points."""


def length(scores: pd.DataFrame) -> Length | None:
    """`scores`: counsellor, client, score, words. None where too few dialogues were scored.

    Ordinary least squares with a level for every counsellor and client, clustered by client.
    """
    known = scores.dropna(subset=["score"])
    known = known[known["words"] > 0]
    if len(known) < KNOWN_FROM or known["counsellor"].nunique() < 2:
        return None
    known = known.assign(doublings=np.log2(known["words"]) - np.log2(known["words"]).mean())
    fit = smf.ols("score ~ C(counsellor) + C(client) + doublings", known).fit(
        cov_type="cluster", cov_kwds={"groups": pd.factorize(known["client"])[0]}
    )
    low, high = fit.conf_int().loc["doublings"]
    names = sorted(known["counsellor"].unique())
    bare = smf.ols("score ~ C(counsellor) + C(client)", known).fit()
    return Length(
        slope=Estimate(float(fit.params["doublings"]), float(low), float(high), known["client"].nunique()),
        raw=_levels(bare.params, names),
        controlled=_levels(fit.params, names),
    )


def _levels(params: pd.Series, names: list[str]) -> dict[str, float]:
    """Each counsellor's level around the mean of all."""
    levels = {name: float(params.get(f"C(counsellor)[T.{name}]", 0.0)) for name in names}
    centre = sum(levels.values()) / len(levels)
    return {name: level - centre for name, level in levels.items()}


def length_slopes(ratings: pd.DataFrame, seed: int = 0) -> list[Slope]:
    """`ratings`: client, judge, talk, item, round, score, words. One slope a judge, intervals over clients."""
    keys = ["client", "talk", "item", "round"]
    table = ratings.pivot_table(index=[*keys, "words"], columns="judge", values="score")
    slopes: dict[str, Estimate] = {}
    for judge in table.columns:
        others = table.drop(columns=judge).median(axis=1)
        both = pd.DataFrame({"score": table[judge], "others": others}).dropna().reset_index()
        slopes[str(judge)] = _slope(both[both["words"] > 0], seed)
    steepest = max((abs(s.value) for s in slopes.values() if s.whole), default=math.nan)
    return [Slope(judge, s, abs(s.value) == steepest and (s.low > 0.1 or s.high < -0.1)) for judge, s in slopes.items()]


def _slope(scores: pd.DataFrame, seed: int) -> Estimate:
    """Points a doubling at equal merit, merit being the others' median; clients are resampled."""
    clients = scores["client"].unique()
    if len(scores) < KNOWN_FROM or len(clients) < FEWEST:
        return Estimate(math.nan, math.nan, math.nan, len(clients))
    index = pd.factorize(scores["client"])[0]
    design = np.column_stack([np.ones(len(scores)), scores["others"], np.log2(scores["words"])])
    score = scores["score"].to_numpy(dtype=float)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        counts = np.bincount(rng.integers(0, len(clients), len(clients)), minlength=len(clients))
        draws.append(_weighted(design, score, np.sqrt(counts[index])))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(_weighted(design, score, np.ones(len(score))), float(low), float(high), len(clients))


def _weighted(design: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """The last coefficient of weighted least squares."""
    return float(np.linalg.lstsq(design * weight[:, None], score * weight, rcond=None)[0][-1])


def own_good(judged: pd.DataFrame, models: Mapping[str, str], seed: int = 0) -> list[OwnGood]:
    """`judged`: counsellor, client, rubric, item, judge, score. `models`: judge or counsellor -> model.

    One entry a judge and counsellor of the same model, where there are other judges and other counsellors.
    """
    table = judged.pivot_table(index=["client", "counsellor", "rubric", "item"], columns="judge", values="score")
    found = []
    for judge in table.columns:
        rest = table.drop(columns=judge)
        if rest.empty or not rest.shape[1]:
            continue
        lead = (table[judge] - rest.mean(axis=1)).rename("lead").reset_index().dropna()
        per_client = lead.groupby(["client", "counsellor"])["lead"].mean().unstack()
        own = [name for name in per_client.columns if models.get(str(name)) == models.get(str(judge))]
        others = per_client.drop(columns=own).mean(axis=1)
        for name in own if len(own) < per_client.shape[1] else []:
            found.append(OwnGood(str(judge), str(name), mean(per_client[name] - others, seed)))
    return found
