"""Agreement between judges, and of a panel with people: Krippendorff's alpha, ICC(A,1), weighted kappa.

Every function takes a table of units by raters, NaN where a rater gave no score. A unit is one item of one dialogue.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import combinations

import krippendorff
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from evaluators.stats.estimates import Estimate

GOOD, FAIR = 0.67, 0.40
"""Alpha from which agreement counts as good, and below which a score is marked poor."""
DRAWS = 300
SCALE = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
"""Every score of every scale."""


@dataclass(frozen=True)
class Standing:
    """How one judge stands to the rest of its panel."""

    judge: str
    agreement: float
    """Spearman correlation with the median of the others."""
    low: float
    high: float
    shift: float
    """Mean of this judge minus the others', in points."""
    alpha_without: float
    """The panel's alpha if this judge were left out."""
    scored: float
    """Share of its answers that are scores."""
    broken: bool
    """It ranks moments unlike the others: its correlation may be nothing, or the panel is clearly better without it."""


def alpha(table: pd.DataFrame, level: str = "ordinal", seed: int = 0) -> Estimate:
    """Krippendorff's alpha over all raters with a bootstrap interval over units; NaN for fewer than two raters."""
    units = _rated(table)
    value = _alpha(units, level)
    if math.isnan(value) or len(units) < 5:
        return Estimate(value, math.nan, math.nan, len(units))
    rng = np.random.default_rng(seed)
    draws = [_alpha(units[rng.integers(0, len(units), len(units))], level) for _ in range(DRAWS)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(units))


def _rated(table: pd.DataFrame) -> np.ndarray:
    """The units that at least two raters scored."""
    units: np.ndarray = table.to_numpy(dtype=float)
    kept: np.ndarray = units[(~np.isnan(units)).sum(axis=1) >= 2]
    return kept


def _alpha(units: np.ndarray, level: str) -> float:
    seen = units[~np.isnan(units)]
    if len(units) == 0 or len(np.unique(seen)) < 2:
        return math.nan
    return float(krippendorff.alpha(reliability_data=units.T, level_of_measurement=level))  # type: ignore[arg-type]


def word(estimate: Estimate) -> str:
    """good, fair, poor, or unknown: what is printed beside a score."""
    if math.isnan(estimate.value):
        return "unknown"
    return "good" if estimate.value >= GOOD else "fair" if estimate.value >= FAIR else "poor"


def icc(table: pd.DataFrame, seed: int = 0) -> Estimate:
    """ICC(A,1): absolute agreement of single raters, two-way, on units that every rater scored."""
    units = table.dropna().to_numpy(dtype=float)
    value = _icc(units)
    if math.isnan(value) or len(units) < 5:
        return Estimate(value, math.nan, math.nan, len(units))
    rng = np.random.default_rng(seed)
    draws = [_icc(units[rng.integers(0, len(units), len(units))]) for _ in range(DRAWS)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(units))


def _icc(units: np.ndarray) -> float:
    """By McGraw and Wong (1996): mean squares of rows, columns and error."""
    n, k = units.shape
    if n < 2 or k < 2:
        return math.nan
    grand = units.mean()
    rows = k * ((units.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((units.mean(axis=0) - grand) ** 2).sum() / (k - 1)
    rest = ((units - units.mean(axis=1, keepdims=True) - units.mean(axis=0) + grand) ** 2).sum() / ((n - 1) * (k - 1))
    below = rows + (k - 1) * rest + k * (columns - rest) / n
    return float((rows - rest) / below) if below else math.nan


def kappa(one: pd.Series, other: pd.Series) -> float:
    """Quadratic weighted kappa of two raters on whole points, on what both scored."""
    both = pd.concat([one, other], axis=1).dropna().round()
    if len(both) < 2:
        return math.nan
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")
        return float(cohen_kappa_score(both.iloc[:, 0], both.iloc[:, 1], weights="quadratic", labels=SCALE))


def kappa_of_pairs(table: pd.DataFrame) -> float:
    """The mean of `kappa` over every two raters; NaN where no two can be compared."""
    found = [kappa(table[one], table[other]) for one, other in combinations(table.columns, 2)]
    known = [value for value in found if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def standings(table: pd.DataFrame, scored: dict[str, float], seed: int = 0) -> list[Standing]:
    """Each judge against the rest of the panel; needs three judges to call one of them broken."""
    whole = _alpha(_rated(table), "ordinal")
    found = []
    for judge in table.columns:
        rest = table.drop(columns=judge)
        pair = pd.concat([table[judge], rest.median(axis=1)], axis=1).dropna().to_numpy(dtype=float)
        r, low, high = _spearman(pair, seed)
        without = _alpha(_rated(rest), "ordinal") if rest.shape[1] > 1 else math.nan
        apart = not math.isnan(without) and without - whole > 0.1 and r < 0.4
        broken = table.shape[1] >= 3 and ((not math.isnan(high) and low <= 0 and r < 0.3) or apart)
        shift = float((pair[:, 0] - pair[:, 1]).mean()) if len(pair) else math.nan
        found.append(Standing(str(judge), r, low, high, shift, without, scored.get(str(judge), 0.0), broken))
    return found


def _spearman(pair: np.ndarray, seed: int) -> tuple[float, float, float]:
    """The rank correlation and its bootstrap interval; ranks are given once."""
    if len(pair) < 5 or np.ptp(pair[:, 0]) == 0 or np.ptp(pair[:, 1]) == 0:
        return math.nan, math.nan, math.nan
    ranks = stats.rankdata(pair, axis=0)
    drawn = ranks[np.random.default_rng(seed).integers(0, len(ranks), (DRAWS, len(ranks)))]
    around = drawn - drawn.mean(axis=1, keepdims=True)
    spread = np.sqrt((around**2).sum(axis=1).prod(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = around.prod(axis=2).sum(axis=1) / spread
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(np.corrcoef(ranks.T)[0, 1]), float(low), float(high)
