"""The report of an evaluation: one self-contained page, its figures as SVG and PNG, its tables as LaTeX."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evaluators import tables
from evaluators.plots import figures
from evaluators.records import Rating
from evaluators.summary import CLEARLY_SPLIT, Summary
from psyllm.errors import Failure
from psyllm.runs import Spend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAILURES_SHOWN = 60
LOWEST_SHOWN = 8
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)


def write(summary: Summary, spend: Sequence[Spend], folder: Path) -> Path:
    """Write index.html, *.svg, *.png and *.tex into a folder; returns the page. Raises Failure('store')."""
    drawn = figures(summary)
    page = html(summary, spend, drawn)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in drawn.items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            figure.savefig(folder / f"{name}.png", dpi=200)
        for table in tables.tables(summary):
            (folder / f"{table.id}.tex").write_text(tables.latex(table), encoding="utf-8")
        path = folder / "index.html"
        partial = path.with_name(".index.html.partial")
        partial.write_text(page, encoding="utf-8")
        partial.rename(path)
    except OSError as error:
        raise Failure("store", f"cannot write the report into {folder}: {error.strerror}") from error
    return path


def html(summary: Summary, spend: Sequence[Spend], drawn: dict[str, Figure]) -> str:
    """The page. Every word of a model or a file is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    evaluation = summary.evaluation
    made = {table.id: table for table in tables.tables(summary)}
    names = ("leaderboard", "gated", "differences", "safety", "agreement", "people", "judges", "own_good", "length")
    ordinary = [talk for talk in evaluation.talks if talk.kind != "safety"]
    return environment.get_template("report.html.j2").render(
        title=str(evaluation.folder),
        head=evaluation.header,
        summary=summary,
        t={name: made.get(name) for name in (*names, "signals", "markers", "unscored")},
        figures={name: _inline(figure) for name, figure in drawn.items()},
        first_pull=tables.interval(summary.strengths.first, 0) if summary.strengths else "",
        clients=len({talk.client for talk in ordinary}),
        counts={
            "ratings": len(evaluation.ratings),
            "preferences": len(evaluation.preferences),
            "cases": len({outcome.case for outcome in evaluation.outcomes}),
        },
        warnings=warnings(summary),
        failures=summary.failures[:FAILURES_SHOWN],
        failure_count=len(summary.failures),
        lowest=_lowest(summary),
        settings=_settings(summary),
        costs=_costs(spend),
    )


def warnings(summary: Summary) -> list[str]:
    """What a reader must know before any number, the gravest first."""
    head = summary.evaluation.header
    found = [
        f"The judges agree poorly on {rubric.matter.name} (alpha {tables.interval(summary.alphas[rubric.id])}):"
        " do not rank counsellors on it."
        for rubric in summary.shown
        if summary.word(rubric.id) == "poor"
    ]
    found += [
        f"How far judges agree on {rubric.matter.name} is unknown: too few of them gave scores to compare."
        for rubric in summary.shown
        if summary.word(rubric.id) == "unknown"
    ]
    found += [
        f"Judge {one.judge} ranks moments unlike the rest of its panel (rank correlation"
        f" {tables.number(one.agreement)}); without it alpha is {tables.number(one.alpha_without)}."
        for one in summary.standings
        if one.broken
    ]
    found += [
        f"Judge {one.judge} is swayed by order: the first place won {tables.spread(one.first)} of its comparisons."
        for one in summary.orders
        if one.biased
    ]
    found += [
        f"Judge {one.judge} changes its mind with the order in {tables.percent(one.flips.value)} of pairs."
        for one in summary.orders
        if not one.biased and one.flips.value > CLEARLY_SPLIT
    ]
    found += [
        f"Judge {one.judge} {'likes' if one.slope.value > 0 else 'dislikes'} length:"
        f" {tables.interval(one.slope)} points for each doubling of the words, at equal score by the rest."
        for one in summary.slopes
        if one.biased
    ]
    if not summary.missing.empty:
        found += [
            f"Judge {row['judge']} gave a score in only {float(row['scored']):.0%} of {row['n']} calls."
            for row in summary.missing.to_dict("records")
            if float(row["scored"]) + float(row["null"]) < 0.8
        ]
    found += [
        f"Judge {one.judge} gave an answer that counts in only {one.answered:.0%} of its comparisons."
        for one in summary.orders
        if one.answered < 0.8
    ]
    if not summary.checks:
        found.append("Nobody has rated these talks: that judges agree does not show that they are right.")
    found += [
        f"{rubric.matter.name}: {summary.checks[rubric.id].advice}."
        for rubric in summary.shown
        if rubric.id in summary.checks and summary.checks[rubric.id].advice.startswith("do not use")
    ]
    if len(head.judges) < 3:
        found.append(f"{len(head.judges)} judge(s): a panel of three or more, of different families, is asked for.")
    clients = summary.talks["client"].nunique()
    if clients < 20:
        found.append(
            f"Only {clients} clients: the intervals are wide, and below about 20 they may be too narrow still."
        )
    if failed := [talk for talk in summary.evaluation.talks if talk.failed]:
        found.append(f"{len(failed)} talk(s) failed and were not judged; the same command tries again.")
    return found


def _lowest(summary: Summary) -> list[Rating]:
    """The lowest scores with their words, at most one a talk."""
    scale = {rubric.id for rubric in summary.shown}
    ids = {talk.id for talk in summary.evaluation.talks if talk.kind != "safety"}
    scored = [r for r in summary.evaluation.ratings if r.score is not None and r.rubric in scale and r.talk in ids]
    worst: dict[str, Rating] = {}
    for rating in sorted(scored, key=lambda r: (r.score or 0, r.talk, r.item)):
        worst.setdefault(rating.talk, rating)
    return list(worst.values())[:LOWEST_SHOWN]


def _settings(summary: Summary) -> list[tuple[str, str]]:
    head = summary.evaluation.header
    rows = [
        ("counsellors", ", ".join(summary.counsellors)),
        ("clients", f"{head.client_model}; {head.kind}; {head.variants} of each post; {head.rounds} exchanges"),
        ("judges", f"{', '.join(head.judges)}; {head.repeats} scoring(s) of up to {head.moments} replies a talk"),
        ("seed", str(head.seed)),
    ]
    rows += [
        (f"model {seat.name}", f"{seat.model} ({seat.kind}), {', '.join(f'{k} {v}' for k, v in seat.sampling.items())}")
        for seat in head.seats
    ]
    rows += [(f"left out: {post}", why) for post, why in head.unsuitable.items()]
    return [(key, value.rstrip(", ")) for key, value in rows]


def _costs(spend: Sequence[Spend]) -> tables.Table:
    """Judges speak as critics, counsellors as therapists, in the journal's words."""
    names = {"critic": "judges (critic)", "therapist": "counsellors (therapist)"}
    rows = [
        (
            names.get(s.role, s.role),
            f"{s.calls:,}",
            f"{s.prompt_tokens:,}",
            f"{s.completion_tokens:,}",
            "no price" if s.cost_usd is None else f"{s.cost_usd:.2f}",
            str(s.misfits),
        )
        for s in spend
    ]
    head = ("role", "calls", "tokens in", "tokens out", "USD", "misfits")
    return tables.Table("costs", "Calls", head, tuple(rows))


def _inline(figure: Figure) -> str:
    """The figure's SVG without its XML prologue."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _PROLOGUE.sub("", buffer.getvalue(), count=1)
