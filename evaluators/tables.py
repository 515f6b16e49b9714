"""The tables of a report as rows of text: for the page, for the terminal and for LaTeX alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from evaluators.stats.agreement import word
from evaluators.stats.estimates import Estimate
from evaluators.summary import Summary

MARK = {"good": "", "fair": "~", "poor": "!", "unknown": "?"}
"""Beside a score: agreement fair, poor (do not rank on it), or unknown."""
LEGEND = "~ judges agree fairly, ! poorly (do not rank on it), ? unknown (fewer than two judges scored)"


@dataclass(frozen=True)
class Table:
    id: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def turned(self) -> Table:
        """Rows as columns, for a narrow screen."""
        lines = list(zip(self.head, *self.rows, strict=True))
        return Table(self.id, self.title, lines[0], tuple(lines[1:]), self.note)

    def of(self, *heads: str) -> Table:
        """Some of the columns."""
        places = [self.head.index(head) for head in heads]
        return Table(self.id, self.title, heads, tuple(tuple(row[n] for n in places) for row in self.rows), self.note)


def number(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else "∞" if math.isinf(value) else f"{value:.{digits}f}"


def interval(estimate: Estimate, digits: int = 2) -> str:
    """3.42 [3.10, 3.71]; without an interval where too few clients give none."""
    if not estimate.whole:
        return number(estimate.value, digits)
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def share(estimate: Estimate) -> str:
    """67% [41, 87] of 15."""
    if math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.0%} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}] of {estimate.n}"


def spread(estimate: Estimate) -> str:
    """58% [41, 75]."""
    if not estimate.whole:
        return percent(estimate.value)
    return f"{estimate.value:.0%} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


def leaderboard(summary: Summary) -> Table:
    shown = summary.shown
    head = (
        "counsellor",
        "strength (Elo)",
        *(f"{rubric.matter.name} (alpha {number(summary.alphas[rubric.id].value)})" for rubric in shown),
        "passes the safety gate",
        "words",
    )
    rows = []
    for name in summary.counsellors:
        elo = summary.strengths.elo.get(name) if summary.strengths else None
        cells = [
            f"{interval(summary.score(name, rubric.id).estimate)} {MARK[summary.word(rubric.id)]}".strip()
            for rubric in shown
        ]
        gate = share(summary.gate[name]) if name in summary.gate else "-"
        words = number(summary.signals["words"][name].value, 0) if name in summary.signals["words"] else "-"
        rows.append((name, interval(elo, 0) if elo else "-", *cells, gate, words))
    note = (
        "Means over clients with 95% bootstrap intervals; alpha is the agreement of the judges (Krippendorff)."
        f" {LEGEND}. There is no grand total."
    )
    return Table("leaderboard", "Leaderboard", head, tuple(rows), note)


def gated(summary: Summary) -> Table:
    """No row where no item is a gate."""
    rows = [
        (name, *(f"{interval(s.passing)} (n={s.passing.n})" for s in summary.scores if s.counsellor == name))
        for name in summary.gate
    ]
    note = "The same scores over the talks that pass the safety gate alone: warmth does not pay for danger."
    head = ("counsellor", *(rubric.matter.name for rubric in summary.shown))
    return Table("gated", "Scores of talks that pass the gate", head, tuple(rows), note)


def differences(summary: Summary) -> Table:
    rows = []
    for rubric in summary.shown:
        for found in summary.differences[rubric.id]:
            rows.append(
                (
                    rubric.matter.name,
                    f"{found.first} - {found.second}",
                    interval(found.estimate),
                    number(found.effect),
                    percent(found.better),
                    number(found.p, 3),
                    number(found.p_holm, 3),
                    str(found.estimate.n),
                )
            )
    head = ("dimension", "pair", "difference", "d", "better with", "p", "p (Holm)", "clients")
    note = "Paired by client. p: sign-flip permutation test; Holm's correction over the pairs of a dimension."
    return Table("differences", "Paired differences", head, tuple(rows), note)


def agreement(summary: Summary) -> Table:
    rows = []
    for rubric in summary.shown:
        keys = [(rubric.id, "all items"), *((f"{rubric.id}/{i.id}", f"{i.id} {i.name}") for i in rubric.matter.items)]
        for key, name in keys:
            found, beside = summary.alphas[key], (interval(summary.iccs[key]), number(summary.kappas[key]))
            title = rubric.matter.name if key == rubric.id else ""
            rows.append((title, name, interval(found), word(found), *beside, str(found.n)))
    head = ("dimension", "item", "Krippendorff's alpha", "agreement", "ICC", "kappa", "units")
    note = (
        "Intervals over units. Alpha is ordinal: good from 0.67, poor below 0.40. ICC(A,1) is of single judges; kappa"
        " is quadratic, the mean over pairs of judges."
    )
    return Table("agreement", "Agreement between judges", head, tuple(rows), note)


def people(summary: Summary) -> Table:
    """What `psyllm eval judge-check` found; no row while nobody has rated."""
    rows = [
        (
            "" if one.item else rubric.matter.name,
            one.item or "all items",
            interval(one.people),
            interval(one.panel),
            number(one.kappa),
            interval(one.bias),
            str(one.n),
            one.advice,
        )
        for rubric in summary.rubrics
        for one in summary.checks.values()
        if one.rubric == rubric.id
    ]
    head = ("dimension", "item", "ICC of people", "ICC with people", "kappa with people", "bias", "rated", "advice")
    note = "With people: the panel's median and the raters' mean. Bias: panel minus people, points."
    return Table("people", "Agreement with people", head, tuple(rows), note)


def judges(summary: Summary) -> Table:
    order = {one.judge: one for one in summary.orders}
    slope = {one.judge: one for one in summary.slopes}
    told = {} if summary.missing.empty else summary.missing.set_index("judge").to_dict("index")
    rows = []
    for judge in summary.evaluation.header.judges:
        standing = next((one for one in summary.standings if one.judge == judge), None)
        mine, steep = order.get(judge), slope.get(judge)
        marks = [
            "broken: unlike its panel" if standing and standing.broken else "",
            "prefers a place" if mine and mine.biased else "",
            "prefers length" if steep and steep.biased and steep.slope.value > 0 else "",
            "prefers brevity" if steep and steep.biased and steep.slope.value < 0 else "",
            "answers too rarely" if told.get(judge, {}).get("scored", 1) < 0.5 else "",
        ]
        lost = told.get(judge, {})
        rows.append(
            (
                judge,
                f"{number(standing.agreement)} [{number(standing.low)}, {number(standing.high)}]" if standing else "-",
                number(standing.shift) if standing else "-",
                number(standing.alpha_without) if standing else "-",
                spread(mine.first) if mine else "-",
                percent(mine.flips.value) if mine else "-",
                interval(steep.slope) if steep else "-",
                percent(float(lost.get("null", math.nan))),
                percent(sum(float(lost.get(name, 0)) for name in ("void", "unreadable", "failed"))),
                percent(1 - mine.answered) if mine else "-",
                "; ".join(filter(None, marks)),
            )
        )
    head = (
        *("judge", "rank correlation with the rest", "shift", "alpha without it", "first place won"),
        *("flips", "points a doubling", "not scorable", "scores lost", "comparisons lost", "mark"),
    )
    note = (
        "Fair: first place won 50%, flips near 0, points a doubling near 0. Lost: invented quotes, refused or"
        " unreadable answers, no answer. Shift: mean minus the others', in points. Points for each doubling of the"
        " words: at equal score by the rest."
    )
    return Table("judges", "Judges", head, tuple(rows), note)


def own_good(summary: Summary) -> Table:
    rows = [(one.judge, one.counsellor, interval(one.gain)) for one in summary.own_good]
    note = (
        "How much kinder a judge is to a counsellor of its own model than its panel is, less the same for the others."
    )
    return Table("own_good", "Self-preference", ("judge", "counsellor of its model", "points"), tuple(rows), note)


def lengths(summary: Summary) -> Table:
    rows = []
    for rubric in summary.shown:
        if (found := summary.lengths.get(rubric.id)) is None:
            continue
        for name in summary.counsellors:
            if name in found.raw:
                rows.append(
                    (
                        rubric.matter.name,
                        interval(found.slope),
                        name,
                        f"{found.raw[name]:+.2f}",
                        f"{found.controlled[name]:+.2f}",
                        percent(found.share(name)),
                    )
                )
    head = ("dimension", "points a doubling", "counsellor", "lead", "lead at equal length", "explained by length")
    note = (
        "Least squares with a level for each counsellor and client. A lead is over the mean of all counsellors. What"
        " goes with length need not be owed to it: a reply that takes up more is longer as well."
    )
    return Table("length", "Length", head, tuple(rows), note)


def safety(summary: Summary) -> Table:
    areas = list(dict.fromkeys(one.group for one in summary.safety))
    rows = []
    for area in areas:
        mine = [s for name in summary.counsellors for s in summary.safety if (s.counsellor, s.group) == (name, area)]
        rows.append((area.replace("_", " "), *(share(one.cases) for one in mine)))
    note = (
        "Share of cases of which every expected item held, with exact intervals; never averaged with any other score."
    )
    return Table("safety", "Safety set", ("area", *summary.counsellors), tuple(rows), note)


_Cell = Callable[[Estimate], str]
_PLAIN: tuple[tuple[str, str, _Cell], ...] = (
    ("words", "words a reply", lambda words: interval(words, 0)),
    ("talk_share", "share of the words spoken", spread),
    ("questions", "questions a reply", interval),
    ("reflections", "reflections a question", interval),
    ("taken_up", "client's words taken up", spread),
    ("distinct", "distinct word pairs", spread),
    ("stock_opening", "stock openings", spread),
    ("stock", "stock phrases a reply", interval),
    ("advice", "piles of advice", spread),
    ("labels", "labels said to the client", spread),
    ("self_claims", "claims of an own life", spread),
    ("safety_missing", "safety step missing (at raised risk)", spread),
    ("safety_broken", "said what is never said", spread),
    ("leak", "traces that leak instructions", spread),
    ("ungrounded", "traces with ungrounded claims", spread),
)


def signals(summary: Summary) -> Table:
    shown = {title: (summary.signals[name], cell) for name, title, cell in _PLAIN}
    note = "Counted by code; they set no score. '-': nothing to count (no danger, no traces)."
    return _counted(summary, "signals", "Deterministic signals", shown, note)


def markers(summary: Summary) -> Table:
    """No row of a marker that nobody showed."""
    shown = {title: (found, spread) for title, found in summary.markers.items()}
    note = (
        "Share of replies. Forms and set words alone, so most are lower bounds. A school's own marker is no praise or"
        " fault of a counsellor who works in another."
    )
    return _counted(summary, "markers", "Fidelity markers that code counts", shown, note)


def _counted(
    summary: Summary, id_: str, title: str, shown: Mapping[str, tuple[Mapping[str, Estimate], _Cell]], note: str
) -> Table:
    """A row for each thing counted. Clients that are all alike tell no interval."""

    def cell(found: Mapping[str, Estimate], shown: _Cell, name: str) -> str:
        if name not in found:
            return "-"
        estimate = found[name]
        alike = estimate.low == estimate.high
        return shown(replace(estimate, low=math.nan, high=math.nan) if alike else estimate)

    rows = tuple((name, *(cell(*each, who) for who in summary.counsellors)) for name, each in shown.items())
    means = "Means over clients, with 95% bootstrap intervals where clients differ."
    return Table(id_, title, (id_.removesuffix("s"), *summary.counsellors), rows, f"{means} {note}")


def unscored(summary: Summary) -> Table:
    rows = [
        (str(r["counsellor"]), *(percent(float(r[k])) for k in ("null", "void", "unreadable", "failed")), str(r["n"]))
        for r in summary.unscored.to_dict("records")
    ]
    note = "A counsellor can look better by producing moments that cannot be scored; so their share is shown."
    head = ("counsellor", "cannot be scored", "quote invented twice", "refused or unreadable", "no answer", "asked")
    return Table("unscored", "What was not scored", head, tuple(rows), note)


def tables(summary: Summary) -> list[Table]:
    """Every table that has rows, in the order of the report."""
    scored = (leaderboard, gated, differences, safety, agreement, people, judges, own_good, lengths)
    made = (*scored, signals, markers, unscored)
    return [table for make in made if (table := make(summary)).rows]


def latex(table: Table) -> str:
    """A booktabs table; every cell is escaped."""
    align = "l" + "r" * (len(table.head) - 1)
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in table.rows]
    return "\n".join(
        (
            r"\begin{table}[t]\centering\small",
            rf"\caption{{{_escaped(table.title)}. {_escaped(table.note)}}}\label{{tab:{table.id}}}",
            rf"\begin{{tabular}}{{{align}}}\toprule",
            " & ".join(map(_escaped, table.head)) + r" \\ \midrule",
            *lines,
            r"\bottomrule\end{tabular}\end{table}",
            "",
        )
    )


_SPECIAL = str.maketrans(
    {**{c: rf"\{c}" for c in "&%$#_{}"}, "~": r"$\sim$", "^": r"\^{}", "\\": r"\textbackslash{}", "∞": r"$\infty$"}
)


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)
