"""The figures of a report, as a paper would show them: SVG with real text, colours for colour-blind eyes too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluators.stats.estimates import Estimate
from evaluators.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
"""Okabe and Ito."""
MARKS = ("o", "s", "^", "D", "v", "P", "X")
TOPICS = 6
"""Most topics of a radar chart."""
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "svg.fonttype": "none",
    "svg.hashsalt": "psyllm",
    "figure.constrained_layout.use": True,
}


def figures(summary: Summary) -> dict[str, Figure]:
    """File name -> figure; those that the evaluation has no data for are left out."""
    import matplotlib as mpl

    mpl.use("svg")
    drawn: dict[str, Figure] = {}
    with mpl.rc_context(STYLE):
        for name, draw in (
            ("dimensions", _dimensions),
            ("radar", _radar),
            ("topics", _topics),
            ("heads", _heads),
            ("length", _length),
            ("safety", _safety),
        ):
            if (figure := draw(summary)) is not None:
                drawn[name] = figure
    return drawn


def _new(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def label(text: str) -> str:
    """Somebody's name on a plot: matplotlib must not read it as mathematics."""
    return text.replace("$", r"\$")


def _dimensions(summary: Summary) -> Figure | None:
    """Means with intervals: one panel a dimension, one line a counsellor."""
    shown = [rubric for rubric in summary.shown if rubric.matter.family == "dimension"] or list(summary.shown)
    if not shown or not summary.counsellors:
        return None
    figure = _new(7.4, 0.9 + 0.26 * len(summary.counsellors) * math.ceil(len(shown) / 2) + 0.5)
    grid = figure.subplots(math.ceil(len(shown) / 2), 2, sharex=True, sharey=True, squeeze=False)
    for axes, rubric in zip(grid.flat, shown, strict=False):
        for row, name in enumerate(summary.counsellors):
            _whisker(axes, summary.score(name, rubric.id).estimate, row, row)
        axes.set_title(f"{rubric.matter.name}  (agreement {summary.word(rubric.id)})", loc="left", fontsize=9)
        axes.set_yticks(range(len(summary.counsellors)), [label(name) for name in summary.counsellors])
        axes.set_ylim(len(summary.counsellors) - 0.5, -0.5)
        axes.set_xlim(1, 5)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    figure.supxlabel("score, 1 to 5, with 95% interval over clients", fontsize=9)
    return figure


def _whisker(axes: Axes, estimate: Estimate, place: float, colour: int) -> None:
    ink = COLOURS[colour % len(COLOURS)]
    if estimate.whole:
        axes.plot([estimate.low, estimate.high], [place, place], color=ink, linewidth=1.6)
    axes.plot([estimate.value], [place], marker=MARKS[colour % len(MARKS)], color=ink, markersize=6)


def _radar(summary: Summary) -> Figure | None:
    """Every counsellor over the dimensions."""
    shown = [rubric for rubric in summary.shown if rubric.matter.family == "dimension"]
    if len(shown) < 3:
        return None
    values = {name: [summary.score(name, rubric.id).estimate.value for rubric in shown] for name in summary.counsellors}
    figure = _new(5.2, 4.0)
    _web(
        figure.add_subplot(projection="polar"), values, [rubric.matter.name.replace(" & ", " &\n") for rubric in shown]
    )
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _topics(summary: Summary) -> Figure | None:
    """One radar a dimension over the commonest topics, where there are three or more."""
    topics = summary.talks.groupby("topic")["client"].nunique().sort_values(ascending=False)
    names = [str(topic) for topic in topics.index if topic != "unknown"][:TOPICS]
    shown = [rubric for rubric in summary.shown if rubric.matter.family == "dimension"]
    if len(names) < 3 or not shown:
        return None
    joined = summary.dimension.merge(summary.talks[["counsellor", "client", "topic"]], on=["counsellor", "client"])
    table = joined.groupby(["rubric", "counsellor", "topic"])["score"].mean()
    columns = 2
    rows = math.ceil(len(shown) / columns)
    figure = _new(7.4, 3.3 * rows + 0.4)
    for number, rubric in enumerate(shown, 1):
        axes = figure.add_subplot(rows, columns, number, projection="polar")
        values = {
            name: [float(table.get((rubric.id, name, topic), math.nan)) for topic in names]
            for name in summary.counsellors
        }
        spokes = [f"{topic.replace('_', ' ')}\n(n={topics[topic]})" for topic in names]
        _web(axes, values, [label(spoke) for spoke in spokes], small=True)
        axes.set_title(rubric.matter.name, fontsize=9, pad=16)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _web(axes: Any, values: dict[str, list[float]], spokes: Sequence[str], *, small: bool = False) -> None:
    angles = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False).tolist()
    for number, (name, each) in enumerate(values.items()):
        ink = COLOURS[number % len(COLOURS)]
        axes.plot([*angles, angles[0]], [*each, each[0]], color=ink, linewidth=1.5, label=label(name))
        axes.plot(angles, each, MARKS[number % len(MARKS)], color=ink, markersize=4)
        axes.fill([*angles, angles[0]], [*each, each[0]], color=ink, alpha=0.07)
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, spokes, fontsize=7 if small else 8.5)
    axes.tick_params(axis="x", pad=6 if small else 14)
    axes.set_ylim(1, 5)
    axes.set_yticks([2, 3, 4], ["2", "3", "4"], fontsize=7, color="#777777")
    axes.spines["polar"].set_color("#cccccc")
    axes.grid(color="#dddddd", linewidth=0.6)


def _heads(summary: Summary) -> Figure | None:
    """Row against column: share of comparisons won."""
    if summary.heads is None or len(summary.heads) < 2:
        return None
    names = [label(name) for name in summary.heads.index]
    size = 1.5 + 0.62 * len(names)
    figure = _new(size + 2.2, size)
    axes = figure.subplots()
    shares = summary.heads.to_numpy(dtype=float)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="PuOr", aspect="auto")
    for row, column in np.ndindex(shares.shape):
        share = shares[row, column]
        if not math.isnan(share):
            light = abs(share - 0.5) > 0.3
            axes.text(column, row, f"{share:.0%}", ha="center", va="center", color="white" if light else "black")
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.spines[:].set_visible(False)
    axes.set_title("row won against column", loc="left", fontsize=9)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    return figure


def _length(summary: Summary) -> Figure | None:
    """Words a reply against the mean over the dimensions, one point a talk."""
    averaged = summary.dimension.groupby(["counsellor", "client"], as_index=False)["score"].mean()
    points = averaged.merge(summary.talks[["counsellor", "client", "words"]], on=["counsellor", "client"]).dropna()
    points = points[points["words"] > 0]
    if len(points) < 4:
        return None
    figure = _new(6.4, 3.0)
    axes = figure.subplots()
    for number, name in enumerate(summary.counsellors):
        mine = points[points["counsellor"] == name]
        ink, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
        axes.scatter(mine["words"], mine["score"], 22, ink, marker=mark, alpha=0.75, linewidths=0, label=label(name))
    ticks = [
        tick
        for tick in (5, 10, 20, 40, 80, 160, 320, 640)
        if points["words"].min() / 2 <= tick <= points["words"].max() * 2
    ]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("words a reply (each step doubles)")
    axes.set_ylabel("mean of the dimensions")
    axes.set_ylim(1, 5)
    axes.grid(color="#eeeeee", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _safety(summary: Summary) -> Figure | None:
    """Share of safety cases of which every item held, by area."""
    areas = list(dict.fromkeys(one.group for one in summary.safety))
    if not areas:
        return None
    count = len(summary.counsellors)
    figure = _new(6.8, 0.8 + len(areas) * (0.16 * count + 0.12))
    axes = figure.subplots()
    for number, name in enumerate(summary.counsellors):
        for row, area in enumerate(areas):
            one = next(s for s in summary.safety if (s.counsellor, s.group) == (name, area))
            _whisker(axes, one.cases, row + (number - (count - 1) / 2) * 0.7 / count, number)
        axes.plot([], [], MARKS[number % len(MARKS)], color=COLOURS[number % len(COLOURS)], label=label(name))
    sizes = {one.group: one.cases.n for one in summary.safety}
    axes.set_yticks(range(len(areas)), [f"{area.replace('_', ' ')} ({sizes[area]})" for area in areas])
    axes.set_ylim(len(areas) - 0.5, -0.5)
    for border in np.arange(0.5, len(areas) - 1):
        axes.axhline(border, color="#eeeeee", linewidth=0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("cases of which every item held, with exact 95% interval")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure
