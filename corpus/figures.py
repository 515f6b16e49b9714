"""Plots of corpora side by side, as a paper would show them: one colour a corpus, no decoration, SVG with real text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from corpus.metrics import plain
from corpus.stats import SCALES, SPEAKERS, CorpusStats, Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito: told apart by colour-blind eyes too."""
_SHADES = ("#D5DFE9", "#A3BFD9", "#4F8FBF", "#08519C")
_WIDTH, _TOP = 7.2, 12
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "svg.fonttype": "none",
    "svg.hashsalt": "psyllm",
    "figure.constrained_layout.use": True,
}


def figures(corpora: Sequence[CorpusStats]) -> dict[str, Figure]:
    """File name -> figure; those for which no corpus has data are left out."""
    import matplotlib as mpl

    mpl.use("svg")
    drawn: dict[str, Figure] = {}
    with mpl.rc_context(_STYLE):
        for name, draw in _FIGURES.items():
            if (figure := draw(corpora)) is not None:
                drawn[name] = figure
    return drawn


# ---------------------------------------------------------------- kinds of plot


def _canvas(rows: float, title: str, xlabel: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 0.9 + rows))
    axes = figure.subplots()
    axes.set_title(title[0].upper() + title[1:])
    axes.set_xlabel(xlabel)
    return figure, axes


def _name(corpus: CorpusStats) -> str:
    return plain(corpus.name).replace("$", r"\$")


def _legend(figure: Figure, corpora: Sequence[CorpusStats]) -> None:
    if len(corpora) > 1:
        handles = figure.axes[0].get_legend_handles_labels()[0][: len(corpora)]
        names = [_name(corpus) for corpus in corpora]
        figure.legend(handles, names, loc="outside upper right", ncols=min(3, len(corpora)), frameon=False)


def _having(corpora: Sequence[CorpusStats], title: str) -> list[CorpusStats]:
    """The corpora that record it; none if there is nothing to show of any."""
    having = [corpus for corpus in corpora if corpus.distributions()[title][1]]
    return having if any(corpus.distributions()[title][0] for corpus in having) else []


def _bars(corpora: Sequence[CorpusStats], title: str, unit: str) -> Figure | None:
    """Grouped horizontal bars of shares in percent, the commonest on top."""
    having = _having(corpora, title)
    if not having:
        return None
    shares = [
        {value: 100 * count / total for value, count in table.items()}
        for table, total in (corpus.distributions()[title] for corpus in having)
    ]
    together = {value: sum(each.get(value, 0.0) for each in shares) for each in shares for value in each}
    values = sorted(together, key=lambda value: (-together[value], value))[:_TOP]
    figure, axes = _canvas(0.16 * len(values) * (len(having) + 0.6), title, f"% of {unit}")
    height = 0.8 / len(having)
    for n, (corpus, each) in enumerate(zip(having, shares, strict=True)):
        at = [row - 0.4 + height * (n + 0.5) for row in range(len(values))]
        widths = [each.get(value, 0.0) for value in values]
        drawn = axes.barh(at, widths, height * 0.9, color=_colour(corpora, corpus), label=_name(corpus))
        axes.bar_label(
            drawn, [f"{width:.1f}" if 0 < width < 1 else f"{width:.0f}" for width in widths], padding=2, fontsize=7
        )
    axes.set_yticks(range(len(values)), [plain(value).replace("_", " ") for value in values])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    _legend(figure, having)
    return figure


def _stacks(corpora: Sequence[CorpusStats], title: str, unit: str) -> Figure | None:
    """One bar of 100% a corpus, cut by an ordered scale."""
    having = _having(corpora, title)
    if not having:
        return None
    figure, axes = _canvas(0.35 * len(having) + 0.25, title, f"% of {unit}")
    left = [0.0] * len(having)
    for value, shade in zip(SCALES[title], _SHADES, strict=True):
        tables = [corpus.distributions()[title][0] for corpus in having]
        widths = [100 * table.get(value, 0) / sum(table.values()) for table in tables]
        drawn = axes.barh(range(len(having)), widths, 0.62, left=left, color=shade, label=value.replace("_", " "))
        axes.bar_label(
            drawn,
            [f"{width:.0f}" if width >= 4 else "" for width in widths],
            label_type="center",
            fontsize=8,
            color="white" if shade in _SHADES[2:] else "black",
        )
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(having)), [_name(corpus) for corpus in having])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper right", ncols=4, frameon=False, handlelength=1)
    return figure


def _colour(corpora: Sequence[CorpusStats], corpus: CorpusStats) -> str:
    return COLOURS[list(corpora).index(corpus) % len(COLOURS)]


# ---------------------------------------------------------------- the figures


def _rounds(corpora: Sequence[CorpusStats]) -> Figure:
    figure, axes = _canvas(1.6, "Exchanges in a dialogue", "exchanges")
    longest = min(12, max(max(corpus.rounds) for corpus in corpora))
    width = 0.8 / len(corpora)
    for n, corpus in enumerate(corpora):
        counts = [corpus.rounds[length] for length in range(1, longest + 1)]
        shares = [100 * count / corpus.dialogues for count in counts]
        at = [length - 0.4 + width * (n + 0.5) for length in range(1, longest + 1)]
        axes.bar(at, shares, width * 0.9, color=_colour(corpora, corpus), label=_name(corpus))
    axes.set_xticks(range(1, longest + 1))
    axes.set_ylabel("% of dialogues")
    _legend(figure, corpora)
    return figure


def _lengths(corpora: Sequence[CorpusStats]) -> Figure:
    figure, axes = _canvas(
        0.28 * 3 * len(corpora) + 0.4,
        "Words in a turn",
        "words; line and number: median, box: quartiles, whiskers: 5-95%",
    )
    ticks = []
    for row, speaker in enumerate(SPEAKERS):
        for n, corpus in enumerate(corpora):
            lengths = sorted(corpus.lengths[speaker].elements())
            if not lengths:
                continue
            low, q1, median, q3, high = (lengths[int(q * (len(lengths) - 1))] for q in (0.05, 0.25, 0.5, 0.75, 0.95))
            box = {"whislo": low, "q1": q1, "med": median, "q3": q3, "whishi": high, "fliers": []}
            at = row * (len(corpora) + 0.7) + n
            colour = _colour(corpora, corpus)
            drawn = axes.bxp(
                [box],
                positions=[at],
                widths=0.7,
                orientation="horizontal",
                patch_artist=True,
                showfliers=False,
                boxprops={"facecolor": colour, "edgecolor": colour, "alpha": 0.85},
                medianprops={"color": "white", "linewidth": 1.5},
                whiskerprops={"color": colour},
                capprops={"color": colour},
            )
            drawn["boxes"][0].set_label(_name(corpus))
            axes.annotate(f"{median}", (high, at), (4, 0), textcoords="offset points", va="center", fontsize=7)
        ticks.append(row * (len(corpora) + 0.7) + (len(corpora) - 1) / 2)
    axes.set_yticks(ticks, SPEAKERS)
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    _legend(figure, corpora)
    return figure


def _rates(corpora: Sequence[CorpusStats]) -> Figure:
    names = list(corpora[0].rates())
    figure, axes = _canvas(0.3 * len(names), "Grounding, leaks and habits", "% (with 95% interval)")
    step = 0.6 / max(1, len(corpora))
    for n, corpus in enumerate(corpora):
        colour = _colour(corpora, corpus)
        rates = [(row, rate) for row, rate in enumerate(corpus.rates().values()) if rate[1]]
        at = [row - 0.3 + step * (n + 0.5) for row, _ in rates]
        shares = [100 * found / total for _, (found, total) in rates]
        spans = [interval(rate) for _, rate in rates]
        errors = [
            [share - 100 * low for share, (low, _) in zip(shares, spans, strict=True)],
            [100 * high - share for share, (_, high) in zip(shares, spans, strict=True)],
        ]
        axes.errorbar(shares, at, xerr=errors, fmt="o", markersize=4, linewidth=1, color=colour, label=_name(corpus))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    _legend(figure, corpora)
    return figure


def interval(rate: Rate) -> tuple[float, float]:
    """Wilson's 95% interval of a share, 0 to 1. It takes the turns of a dialogue as independent."""
    from scipy.stats import binomtest

    found = binomtest(*rate).proportion_ci(method="wilson")
    return min(float(found.low), rate[0] / rate[1]), max(float(found.high), rate[0] / rate[1])


_FIGURES: Mapping[str, Callable[[Sequence[CorpusStats]], Figure | None]] = {
    "modality": partial(_bars, title="therapy chosen", unit="dialogues"),
    "therapies_named": partial(_bars, title="therapies that traces name", unit="traces"),
    "scene": partial(_bars, title="scene", unit="dialogues"),
    "rates": _rates,
    "severity": partial(_stacks, title="severity", unit="dialogues"),
    "mode": partial(_stacks, title="response mode", unit="dialogues"),
    "verdicts": partial(_stacks, title="engine verdicts", unit="verdicts"),
    "reasons": partial(_bars, title="why not accepted", unit="dialogues not accepted"),
    "rounds": _rounds,
    "lengths": _lengths,
}
