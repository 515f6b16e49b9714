"""Means with bootstrap intervals over clients, paired differences, effect sizes, correction for many comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

DRAWS = 2000
"""Bootstrap and permutation draws."""
FEWEST = 3
"""Fewest clients of which an interval is given."""


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float
    """95% interval; NaN where too few clients give none."""
    n: int
    """Clients."""

    @property
    def whole(self) -> bool:
        return not math.isnan(self.low)


@dataclass(frozen=True)
class Difference:
    """The first counsellor minus the second, client by client."""

    first: str
    second: str
    estimate: Estimate
    effect: float
    """Cohen's d of the paired differences (their mean in their own standard deviations)."""
    better: float
    """Share of clients with whom the first did better, ties counted half."""
    p: float
    """Sign-flip permutation test over clients, two-sided."""
    p_holm: float = math.nan
    """After Holm's correction over all pairs of one table."""


def mean(values: Sequence[float] | np.ndarray | pd.Series, seed: int = 0) -> Estimate:
    """The mean and its BCa bootstrap interval over clients."""
    sample = np.asarray(values, dtype=float)
    sample = sample[~np.isnan(sample)]
    if len(sample) == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    centre = float(sample.mean())
    if len(sample) < FEWEST:
        return Estimate(centre, math.nan, math.nan, len(sample))
    if np.ptp(sample) == 0:
        return Estimate(centre, centre, centre, len(sample))
    found = stats.bootstrap(
        (sample,), np.mean, n_resamples=DRAWS, method="BCa", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Estimate(centre, float(found.low), float(found.high), len(sample))


def proportion(passed: int, n: int) -> Estimate:
    """A share with its exact (Clopper-Pearson) interval."""
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    found = stats.binomtest(passed, n).proportion_ci(method="exact")
    return Estimate(passed / n, float(found.low), float(found.high), n)


def differences(scores: pd.DataFrame, seed: int = 0) -> list[Difference]:
    """Every pair of columns (counsellors), on the clients (rows) that both met; Holm's correction over the pairs."""
    found = [_difference(scores, a, b, seed) for a, b in combinations(scores.columns, 2)]
    known = [n for n, difference in enumerate(found) if not math.isnan(difference.p)]
    if known:
        corrected = multipletests([found[n].p for n in known], method="holm")[1]
        for n, p in zip(known, corrected, strict=True):
            one = found[n]
            found[n] = Difference(one.first, one.second, one.estimate, one.effect, one.better, one.p, float(p))
    return found


def _difference(scores: pd.DataFrame, first: str, second: str, seed: int) -> Difference:
    gaps = (scores[first] - scores[second]).dropna().to_numpy(dtype=float)
    estimate = mean(gaps, seed)
    if len(gaps) < FEWEST:
        return Difference(str(first), str(second), estimate, math.nan, math.nan, math.nan)
    spread = float(gaps.std(ddof=1))
    effect = (
        estimate.value / spread if spread else (0.0 if estimate.value == 0 else math.copysign(math.inf, estimate.value))
    )
    better = float((gaps > 0).mean() + (gaps == 0).mean() / 2)
    test = stats.permutation_test(
        (gaps,), np.mean, permutation_type="samples", n_resamples=DRAWS, rng=np.random.default_rng(seed)
    )
    return Difference(str(first), str(second), estimate, effect, better, float(test.pvalue))
