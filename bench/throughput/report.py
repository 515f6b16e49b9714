"""What was measured, as medians: a Markdown page with the goals and a table a load, and a plot."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.throughput.clients import CLIENTS, Load

Row = dict[str, Any]
BUSY = 0.4
"""Cores that others may use before the page warns of it."""
COLOURS = {"psyllm": "#0b7a75", "bare": "#9aa5ae", "library": "#5b7db1", "engine": "#c8553d"}
KINDS = {"psyllm": "psyllm", "bare": "no framework", "library": "SDK or graph alone", "engine": "other engines"}


@dataclass(frozen=True)
class Summary:
    """All repeats of one client at one load."""

    client: str
    runs: tuple[Row, ...]
    failed: str
    """Why there are no runs, or fewer; '' if nothing failed."""

    @property
    def kind(self) -> str:
        return CLIENTS[self.client].kind

    def median(self, name: str) -> float:
        return float(statistics.median(run[name] for run in self.runs))

    def span(self, name: str) -> tuple[float, float] | None:
        """Least and most; None where it was not to be known."""
        values = [run[name] for run in self.runs if run[name] is not None]
        return (min(values), max(values)) if values else None


@dataclass(frozen=True)
class AtLoad:
    load: Load
    summaries: tuple[Summary, ...]

    @property
    def name(self) -> str:
        return self.load.name

    def of(self, client: str) -> Summary | None:
        return next((each for each in self.summaries if each.client == client and each.runs), None)

    def best_engine(self, name: str) -> Summary | None:
        """The one of the other engines with the highest median."""
        engines = [each for each in self.summaries if each.kind == "engine" and each.runs]
        return max(engines, key=lambda each: each.median(name), default=None)


def summed(rows: Iterable[Row]) -> list[AtLoad]:
    """The measurements by load and client, both in the order in which they first came; clients by efficiency."""
    loads: dict[Load, dict[str, list[Row]]] = {}
    for row in rows:
        load = Load(row["latency_ms"], row["slots"], 0, 0, (), more_places=row["more_places"])
        loads.setdefault(load, {}).setdefault(row["client"], []).append(row)
    found = []
    for load, clients in loads.items():
        summaries = [
            Summary(
                client,
                tuple(row for row in measured if not row.get("failed")),
                next((row["failed"] for row in measured if row.get("failed")), ""),
            )
            for client, measured in clients.items()
        ]
        summaries.sort(key=lambda each: -each.median("efficiency") if each.runs else 1)
        found.append(AtLoad(load, tuple(summaries)))
    return found


def markdown(about: Row, loads: Sequence[AtLoad]) -> str:
    """The whole page."""
    parts = [f"# Throughput, {about['started'][:10]}", _facts(about, loads), _goal_table(goals(loads))]
    for load in loads:
        parts += [f"## {load.name}", _table(load)]
        parts += [f"{CLIENTS[each.client].about}: {each.failed}" for each in load.summaries if each.failed]
        parts.append(_notes(load))
    parts.append("![efficiency, calls a second and CPU of every client](plot.svg)")
    parts.append(
        "psyllm grows whole dialogues (five agents, four rounds, clinical checks, journal and traces on). A peer"
        " cannot run that graph: it makes a chain of four calls an item, with requests and replies of the same mean"
        " size. What the columns mean, and the limits of all this: [bench/README.md](../../README.md)."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(about: Row, loads: Sequence[AtLoad]) -> str:
    sizes = [each for load in loads if (each := load.of("psyllm"))]
    size = ""
    if sizes:
        kb = [sizes[0].median(name) / 1000 for name in ("request_bytes", "reply_bytes")]
        size = f" Mean request and reply of psyllm: {kb[0]:.1f} and {kb[1]:.2f} kB."
    ended = f" Stopped after {about['measured']} of {about['planned']} measurements." if about.get("stopped") else ""
    busy = max((run["other_cores"] or 0 for load in loads for each in load.summaries for run in each.runs), default=0)
    if busy > BUSY:
        ended += (
            f"\n\n**The machine was not idle: other processes kept up to {busy:.1f} of its {about['cores']} cores busy."
            " Efficiency and calls a second say little, and CPU a call comes out higher.**"
        )
    repeats = (
        "one run each" if about["repeats"] == 1 else f"medians of {about['repeats']} repeats, clients in turn in each"
    )
    return (
        f"Commit {about['commit']}, Python {about['python']}, {about['cores']} cores of {about['cpu']},"
        f" {about['system']}; load at the start {about['load_at_start'][0]:g}; {about['minutes']:.0f} minutes;"
        f" {repeats}.{size}{ended}"
    )


Goal = tuple[str, str, bool]
"""What is wanted, what was measured, and whether that is enough."""


def goals(loads: Sequence[AtLoad]) -> list[Goal]:
    """Those that can be told from these loads."""
    by_name = {load.name: load for load in loads}
    rows: list[Goal] = []
    whole: list[Summary] = []
    """psyllm at the loads whose efficiency is asked for, over at least 1,000 dialogues of four rounds."""

    def efficiency(name: str, goal: float) -> None:
        if (load := by_name.get(name)) and (ours := load.of("psyllm")):
            best, found = load.best_engine("efficiency"), ours.median("efficiency")
            said = f"{found:.3f}, {ours.median('window_efficiency'):.3f} from first request to last reply"
            said += f"; best engine {best.median('efficiency'):.2f} ({best.client})" if best else ""
            rows.append((f"efficiency at {load.name} at least {goal}", said, found >= goal))
            whole.append(ours)

    efficiency("200 ms, 64 slots", 0.95)
    efficiency("200 ms, 64 slots, 96 places", 0.95)
    efficiency("1000 ms, 64 slots", 0.97)
    if (
        (load := by_name.get("50 ms, 256 slots"))
        and (ours := load.of("psyllm"))
        and (best := load.best_engine("calls_per_s"))
    ):
        rate, theirs = ours.median("calls_per_s"), best.median("calls_per_s")
        said = f"{rate:.0f} against {theirs:.0f} ({best.client}): {rate / theirs:.1f} times"
        rows.append((f"calls/s at {load.name} at least twice the best engine's", said, rate >= 2 * theirs))
    measured = [(load, ours) for load in loads if (ours := load.of("psyllm"))]
    if not measured:
        return rows
    costs = [(ours.median("cpu_ms_per_call"), load) for load, ours in measured]
    said = ", ".join(f"{cost:.2f} ms at {load.name}" for cost, load in costs)
    rows.append(("CPU a call at most 1.3 ms", said, all(cost <= 1.3 for cost, _ in costs)))
    if not whole:
        return rows
    rounds = min(int(run["four_rounds"]) for ours in whole for run in ours.runs)
    done = whole[0].runs[0]
    said = f"at least {rounds} of four rounds in every run, of {done['done']} grown;"
    said += f" {done['accepted'] / done['done']:.0%} accepted"
    rows.append(("at least 1,000 four-round dialogues", said, rounds >= 1000))
    return rows


def _goal_table(found: Sequence[Goal]) -> str:
    lines = [f"| {goal} | {said} | {'yes' if met else 'no'} |" for goal, said, met in found]
    return "\n".join(["| goal | measured | met |", "|---|---|---|", *lines]) if lines else ""


def _table(load: AtLoad) -> str:
    best = load.best_engine("calls_per_s")
    head: tuple[str, ...] = ("client", "calls", "wall s", "ideal s", "efficiency", "calls/s", "of best engine's")
    head += ("CPU ms/call", "cores", "MiB", "other cores busy", "items whole")
    lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for each in load.summaries:
        if not each.runs:
            lines.append(f"| {CLIENTS[each.client].about} | not measured |" + " |" * (len(head) - 2))
            continue
        others = each.span("other_cores")
        rate = each.median("calls_per_s")
        low, high = each.span("efficiency") or (0.0, 0.0)
        cells: tuple[str, ...] = (
            f"**{CLIENTS[each.client].about}**" if each.kind == "psyllm" else CLIENTS[each.client].about,
            f"{each.median('calls'):,.0f}",
            f"{each.median('wall_s'):.2f}",
            f"{each.median('ideal_s'):.2f}",
            f"{each.median('efficiency'):.3f} ({low:.2f}-{high:.2f})",
            f"{rate:.0f}",
            f"{rate / best.median('calls_per_s'):.2f}" if best else "",
            f"{each.median('cpu_ms_per_call'):.2f}",
            f"{each.median('cores'):.2f}",
            f"{each.median('rss_mib'):.0f}",
            f"{others[0]:.1f}-{others[1]:.1f}" if others else "not known",
            f"{each.median('done'):,.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _notes(load: AtLoad) -> str:
    said = []
    share = max((each.median("server_cores") for each in load.summaries if each.runs), default=0)
    cost = max((each.median("server_ms_per_call") for each in load.summaries if each.runs), default=0)
    said.append(f"The server itself took at most {cost:.2f} ms of CPU a call, and at most {share:.2f} of a core.")
    ours, replay = load.of("psyllm"), load.of("replay")
    if ours and replay:
        ratio = ours.median("efficiency") / replay.median("efficiency")
        said.append(f"psyllm reached {ratio:.2f} of the efficiency of bare aiohttp with the very same requests.")
    for each in load.summaries:
        if each.runs and each.runs[0]["side_by_side"]:
            said.append(
                f"The {len(each.runs)} runs of {CLIENTS[each.client].about} went side by side, each on a server of its"
                " own: each counts among the others' load."
            )
    if ours and (missed := max(run["missed"] for run in ours.runs)):
        said.append(f"Up to {missed} answers were not in the table and were computed while the clock ran.")
    return " ".join(said)


PANELS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("efficiency", "efficiency (ideal / wall)", lambda value: f"{value:.2f}"),
    ("calls_per_s", "calls a second", lambda value: f"{value:.0f}"),
    ("cpu_ms_per_call", "CPU, ms a call", lambda value: f"{value:.2f}"),
)


def plot(loads: Sequence[AtLoad], folder: Path) -> None:
    """plot.svg and plot.png: a row a load, bars for medians, a dot for every repeat."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    measured = [(load, [each for each in reversed(load.summaries) if each.runs]) for load in loads]
    measured = [(load, summaries) for load, summaries in measured if summaries]
    if not measured:
        return
    heights = [len(summaries) + 1.6 for _, summaries in measured]
    pyplot.rcParams.update({"font.size": 9, "svg.hashsalt": "psyllm", "svg.fonttype": "none"})
    figure, grid = pyplot.subplots(
        *(len(measured), len(PANELS)),
        figsize=(12, 0.27 * sum(heights) + 0.5),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    for (load, summaries), row in zip(measured, grid, strict=True):
        names = [CLIENTS[each.client].about for each in summaries]
        for axes, (figure_name, title, text) in zip(row, PANELS, strict=True):
            medians = [each.median(figure_name) for each in summaries]
            axes.barh(names, medians, color=[COLOURS[each.kind] for each in summaries], height=0.7)
            dots = [run[figure_name] for each in summaries for run in each.runs]
            top = 1.0 if figure_name == "efficiency" else max(dots)
            for place, (each, value) in enumerate(zip(summaries, medians, strict=True)):
                values = [run[figure_name] for run in each.runs]
                axes.plot(values, [place] * len(values), ".", color="black", markersize=3)
                axes.annotate(
                    text(value), (max(value, *values), place), (5, 0), textcoords="offset points", va="center"
                )
            axes.set_xlim(0, 1.16 * top)
            axes.set_title(f"{load.name}: {title}" if axes is row[0] else title, loc="left", fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
            if axes is not row[0]:
                axes.set_yticklabels([])
    kinds = dict.fromkeys(each.kind for _, summaries in measured for each in summaries)
    handles = [Patch(color=COLOURS[kind], label=KINDS[kind]) for kind in KINDS if kind in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(folder / "plot.svg", metadata={"Date": None})
    figure.savefig(folder / "plot.png", dpi=110)
    pyplot.close(figure)


def write(folder: Path, about: Row, rows: Sequence[Row]) -> None:
    """measurements.jsonl (the facts of this call, then a line a measurement), README.md and the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(line) + "\n" for line in (about, *rows)]
    (folder / "measurements.jsonl").write_text("".join(lines), encoding="utf-8")
    loads = summed(rows)
    (folder / "README.md").write_text(markdown(about, loads), encoding="utf-8")
    plot(loads, folder)
