"""How far a panel of judges may stand in for people: per item and dimension, and which items to trust.

The demands are written down here, before anybody looks at a leaderboard.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from evaluators.records import Rating
from evaluators.rubric import Rubric
from evaluators.stats import agreement
from evaluators.stats.estimates import Estimate, mean

PEOPLE_AGREE = 0.60
PANEL_AGREES = 0.60
AT_LEAST = 0.40
"""Lower end of either interval."""
NEARLY = 0.10
"""How far the panel may stay behind people with one another."""
BIAS = 0.30
"""Points by which the panel may be kinder or harsher on the whole."""
FILE = "judge_check.json"
"""The last check lies beside the evaluation, and its report prints it beside every score."""
FEWEST = 30
"""Moments below which nothing is recommended."""


@dataclass(frozen=True)
class Check:
    """One item, or one dimension."""

    rubric: str
    item: str
    """'' for all items of the rubric together."""
    n: int
    """Moments that people and panel both scored."""
    people: Estimate
    """ICC(A,1) of people with one another; NaN for one rater."""
    panel: Estimate
    """ICC(A,1) of the panel's median with the people's mean."""
    kappa: float
    """Quadratic weighted kappa of the same two."""
    bias: Estimate
    """Panel minus people, points; interval over clients."""
    within_one: float
    """Share of moments on which they are one point apart or less."""
    advice: str
    """trust, exploratory, do not use, or too few ratings; with the reason."""


def check(people: Sequence[Rating], panel: Sequence[Rating], rubrics: Sequence[Rubric], seed: int = 0) -> list[Check]:
    """Every dimension and item that people rated, on the moments that both scored."""
    human, judged = _table(people), _table(panel)
    found = []
    for rubric in rubrics:
        items = [item.id for item in rubric.matter.items if item.id in set(human.index.get_level_values("item"))]
        if items:
            found.append(_check(rubric.id, "", _of(human, items), _of(judged, items), seed))
        found += [_check(rubric.id, item, _of(human, [item]), _of(judged, [item]), seed) for item in items]
    return found


def keep(folder: Path, checks: Sequence[Check]) -> None:
    """Leave the checks beside the evaluation."""
    (folder / FILE).write_text(json.dumps([asdict(one) for one in checks], indent=1) + "\n", encoding="utf-8")


def kept(folder: Path) -> list[Check]:
    """The checks that lie beside the evaluation; none if nobody has rated it."""
    path = folder / FILE
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    for row in rows:
        row.update({key: Estimate(**row[key]) for key in ("people", "panel", "bias")})
    return [Check(**row) for row in rows]


def _table(ratings: Sequence[Rating]) -> pd.DataFrame:
    """Moments by raters, repeats by their median."""
    fields = {"talk", "client", "item", "round", "judge", "score"}
    columns = ["talk", "client", "item", "round", "judge", "score"]
    frame = pd.DataFrame([rating.model_dump(include=fields) for rating in ratings], columns=columns)
    frame = frame.astype({"score": float})
    return frame.pivot_table(
        index=["client", "talk", "item", "round"], columns="judge", values="score", aggfunc="median"
    )


def _of(table: pd.DataFrame, items: Sequence[str]) -> pd.DataFrame:
    return table[table.index.get_level_values("item").isin(list(items))]


def _check(rubric: str, item: str, human: pd.DataFrame, judged: pd.DataFrame, seed: int) -> Check:
    both = pd.concat({"people": human.mean(axis=1), "panel": judged.median(axis=1)}, axis=1).dropna()
    people = agreement.icc(human, seed) if human.shape[1] > 1 else Estimate(math.nan, math.nan, math.nan, 0)
    panel = agreement.icc(both, seed)
    gap = (both["panel"] - both["people"]).groupby(level="client").mean()
    bias = mean(gap, seed)
    return Check(
        rubric=rubric,
        item=item,
        n=len(both),
        people=people,
        panel=panel,
        kappa=agreement.kappa(both["people"], both["panel"]),
        bias=bias,
        within_one=float(((both["panel"] - both["people"]).abs() <= 1).mean()) if len(both) else math.nan,
        advice=_advice(len(both), people, panel, bias),
    )


def _advice(n: int, people: Estimate, panel: Estimate, bias: Estimate) -> str:
    if n < FEWEST:
        return f"too few ratings ({n} of {FEWEST})"
    if not math.isnan(people.value) and (people.value < PEOPLE_AGREE or people.low < AT_LEAST):
        return "do not use: people do not agree either; rewrite the item"
    if math.isnan(panel.value) or panel.value < AT_LEAST:
        return "do not use: the panel is unlike people"
    if panel.value < PANEL_AGREES or panel.low < AT_LEAST:
        return "exploratory: agrees too loosely to rank on"
    if not math.isnan(people.value) and panel.value < people.value - NEARLY:
        return "exploratory: people agree clearly better with one another"
    if abs(bias.value) > BIAS:
        return f"exploratory: {'kinder' if bias.value > 0 else 'harsher'} than people by {abs(bias.value):.1f}"
    return "trust" if not math.isnan(people.value) else "trust, as far as one rater goes"
