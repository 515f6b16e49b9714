"""The numbers of the run page: funnel, reasons, modality x severity, what each role cost."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.web.query import Query
from app.web.site import Site
from psyllm.desk import waiting_calls
from psyllm.records import Severity, Status
from psyllm.runs import Run, Spend
from psyllm.runs.find import crossed

SEVERITIES: tuple[Severity, ...] = ("minimal", "mild", "moderate", "severe")
FRESH_S = 20.0
"""Seconds since the last call within which a run counts as growing."""
SHADES = 5


@dataclass(frozen=True)
class Bar:
    """A count with its length."""

    label: str
    count: int
    share: float
    """Of the longest possible, in percent."""
    kind: str
    """The status whose colour it has."""
    url: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """Dialogues of one modality and severity."""

    dialogues: int
    accepted: int
    shade: int
    """0 to SHADES, by the number of dialogues."""
    url: str


@dataclass(frozen=True)
class Overview:
    """One run as it stands."""

    posts: int
    evaluation: Mapping[str, Sequence[str]]
    """Of an evaluation: counsellors and judges; {} for a corpus."""
    funnel: Sequence[Bar]
    reasons: Sequence[Bar]
    grid: Mapping[str, Sequence[Cell]]
    """Modality -> a cell for each of SEVERITIES."""
    spend: Sequence[Spend]
    cost_usd: float | None
    """Of all roles; None if any call has no price."""
    at_desk: int
    """Calls that wait for a person at the desk."""
    last_call: float | None
    """Unix time at which the last answer came; None before the first."""
    growing: bool


def overview(site: Site, run: Run) -> Overview:
    """To be called while the site is being read."""
    posts, spend = run.post_count(), run.spend()
    costs = [role.cost_usd for role in spend]
    last = max((last for database in run.databases if (last := _last_answer(database)) is not None), default=None)
    return Overview(
        posts=posts,
        evaluation=_evaluation(run),
        funnel=_funnel(run),
        reasons=_reasons(run),
        grid={} if run.evaluation else _grid(site),
        spend=spend,
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        at_desk=len(waiting_calls(run.folder)),
        last_call=last,
        growing=last is not None
        and time.time() - last < FRESH_S
        and (run.evaluation or posts > sum(run.status_counts().values())),
    )


def _url(**parts: str) -> str:
    return Query.of(parts).url("/dialogues")


def _evaluation(run: Run) -> Mapping[str, Sequence[str]]:
    return {name: run.fingerprint[f"eval.{name}"] for name in ("counsellors", "judges")} if run.evaluation else {}


def _funnel(run: Run) -> Sequence[Bar]:
    """An evaluation is about talks, however many posts its clients were made from."""
    counts = run.status_counts()
    total = sum(counts.values()) if run.evaluation else run.post_count()
    always = (Status.EVALUATED,) if run.evaluation else (Status.ACCEPTED, Status.REJECTED)
    bars = [
        Bar(status.replace("_", " "), counts[status], _percent(counts[status], total), status, _url(status=status))
        for status in Status
        if counts[status] or status in always
    ]
    left = total - sum(counts.values())
    return [*bars, Bar("not done", left, _percent(left, total), "open", "")] if left else bars


def _reasons(run: Run) -> Sequence[Bar]:
    found = run.reasons()
    most = max((count for *_, count in found), default=0)
    return [
        Bar(code, count, _percent(count, most), status, _url(status=status, reason=code), role)
        for status, code, role, count in found
    ]


def _grid(site: Site) -> Mapping[str, Sequence[Cell]]:
    found = {(modality, severity): (number, kept) for modality, severity, number, kept in crossed(site.index)}
    most = max((number for number, _ in found.values()), default=1)

    def cell(modality: str, severity: str) -> Cell:
        number, kept = found.get((modality, severity), (0, 0))
        return Cell(number, kept, -(-SHADES * number // most), _url(modality=modality, severity=severity))

    modalities = sorted({modality for modality, _ in found})
    return {modality: [cell(modality, severity) for severity in SEVERITIES] for modality in modalities}


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _last_answer(database: sqlite3.Connection) -> float | None:
    row = database.execute("SELECT started + seconds FROM calls ORDER BY id DESC LIMIT 1").fetchone()
    return row[0] if row else None
