"""psyllm's real graph and its peers on one mock server, in turn, in one call: `make bench`

Everybody meets the same server with a fixed latency and so many slots, so that the least time is known: efficiency
is ideal / wall. Ctrl-C keeps what was measured. bench/README.md says what is measured, and how.

    python -m bench.throughput                       all of it: results in bench/results/throughput
    python -m bench.throughput --quick               a first look
    python -m bench.throughput --clients psyllm replay --latency 200 --slots 64 --dialogues 200 --repeats 1
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.throughput.clients import CALLS, CLIENTS, FULL, QUICK, Client, Environments, Load
from bench.throughput.machine import ROOT, described, frozen
from bench.throughput.measure import Bench, measure
from bench.throughput.recording import four_rounds, system_bytes, write_chains, write_posts
from bench.throughput.report import Row, goals, summed, write
from psyllm.errors import Failure

RESULTS = ROOT / "bench" / "results"
MORE = 1.4
"""Posts that are recorded for each dialogue of four rounds: some end before, accepted or not."""
RECORDED_S = 0.005
"""Guessed: what one call takes while it is recorded."""
console = Console(highlight=False, markup=False)


class Session:
    """One call of this command: what is planned, what is done, and how long the rest takes."""

    def __init__(self, bench: Bench, loads: Sequence[Load], repeats: int) -> None:
        self.bench = bench
        self.loads = loads
        self.repeats = repeats
        self.rows: list[Row] = []
        self._seconds: dict[tuple[str, str], float] = {}
        """(load, client) -> how long it took last."""
        self._cannot: dict[str, str] = {}
        """Client, or load and client -> why it is not measured any more."""
        self._left = list(self._planned())

    def _planned(self) -> Iterator[tuple[Load, Client, int]]:
        """Round-robin over clients within each repeat; what runs side by side comes after the first one, as one (0)."""
        for repeat in (1, 0, *range(2, self.repeats + 1)):
            for load in self.loads:
                beside = [name for name in load.clients if name in load.beside and self.repeats > 1]
                now = beside if repeat == 0 else [name for name in load.clients if name not in beside]
                yield from ((load, CLIENTS[name], repeat) for name in now)

    @property
    def planned(self) -> int:
        return len(self.rows) + sum(1 if repeat else self.repeats for *_, repeat in self._left)

    def seconds_left(self) -> float:
        return sum(self._seconds.get((load.name, client.name), client.seconds(load)) for load, client, _ in self._left)

    def run(self) -> None:
        while self._left:
            load, client, repeat = self._left[0]
            place = f"[{len(self.rows) + 1}/{self.planned}] {load.name}: {client.name}"
            place += f", repeat {repeat}" if repeat else f", {self.repeats} repeats side by side"
            since = time.perf_counter()
            with console.status(f"{place} ... about {_minutes(self.seconds_left())} left"):
                rows = [self._one(load, client, repeat)] if repeat else self._all(load, client)
            self._seconds[load.name, client.name] = time.perf_counter() - since
            self._left.pop(0)
            self.rows += rows
            for row in rows:
                console.print(f"{place}: {_told(row)}; about {_minutes(self.seconds_left())} left", soft_wrap=True)

    def _one(self, load: Load, client: Client, repeat: int, *, beside: bool = False) -> Row:
        row: Row = {"client": client.name, "latency_ms": load.latency_ms, "slots": load.slots}
        row |= {"more_places": load.more_places, "repeat": repeat, "side_by_side": beside}
        where = f"{load.name}: {client.name}"
        if why := self._cannot.get(client.environment) or self._cannot.get(where):
            return row | {"failed": why}
        try:
            return row | measure(self.bench, client, load)
        except (Failure, OSError, ValueError) as error:
            self._cannot[where] = str(error)
            return row | {"failed": str(error)}

    def _all(self, load: Load, client: Client) -> list[Row]:
        with ThreadPoolExecutor(self.repeats) as pool:
            runs = [pool.submit(self._one, load, client, n + 1, beside=True) for n in range(self.repeats)]
            try:
                return [run.result() for run in runs]
            except KeyboardInterrupt:
                self.bench.stop()
                raise

    def install(self) -> None:
        """The environments that are missing; a client whose packages cannot be had is told of in the table."""
        clients = list(dict.fromkeys(client for _, client, _ in self._left))
        for name in self.bench.environments.missing(clients):
            with console.status(f"installing {name} into {self.bench.environments.folder}: a minute or so"):
                try:
                    self.bench.environments.install(name)
                except Failure as failure:
                    self._cannot[name] = str(failure)
            console.print(self._cannot.get(name, f"installed {name}"), soft_wrap=True)

    def record(self) -> None:
        """Let psyllm make its calls once, at no latency."""
        ours = [load for load in self.loads if any(CLIENTS[name].grows for name in load.clients)]
        if not ours:
            return
        count = 3 + round(MORE * max(load.dialogues for load in ours))
        write_posts(self.bench.posts, count)
        run = self.bench.scratch / "recorded"
        with console.status(
            f"recording the calls of {count} dialogues: about {_minutes(RECORDED_S * count * CALLS / MORE)}"
        ):
            told = measure(self.bench, CLIENTS["psyllm"], Load(0, 64, count, 0, ()), keep_run=run)
            self.bench.whole = four_rounds(run)
            if any("replay" in load.clients for load in ours):
                write_chains(self.bench.chains, run, self.bench.answers)
        self.bench.request_bytes, self.bench.reply_bytes = told["request_bytes"], told["reply_bytes"]
        self.bench.system_bytes = system_bytes(told["request_bytes"], told["reply_bytes"])
        console.print(
            f"recorded {told['calls']:,} calls of {told['done']} dialogues, {told['four_rounds']} of four rounds,"
            f" {told['accepted']} accepted;"
            f" {told['request_bytes'] / 1000:.1f} kB a request, {told['reply_bytes']:.0f} bytes a reply",
            soft_wrap=True,
        )


def _told(row: Row) -> str:
    if "failed" in row:
        return str(row["failed"])
    others = "" if row["other_cores"] is None else f", {row['other_cores']:.1f} other cores busy"
    return (
        f"efficiency {row['efficiency']:.3f}, {row['calls_per_s']:.0f} calls/s,"
        f" {row['cpu_ms_per_call']:.2f} ms CPU/call{others}"
    )


def _show(rows: Sequence[Row]) -> None:
    """The medians, for the screen."""
    loads = summed(rows)
    for load in loads:
        table = Table(title=load.name, title_justify="left", box=None)
        for heading in ("client", "efficiency", "calls/s", "CPU ms/call", "MiB", "others busy"):
            table.add_column(heading, justify="left" if heading == "client" else "right")
        for each in load.summaries:
            if not each.runs:
                table.add_row(CLIENTS[each.client].about, "not measured", "", "", "", "")
                continue
            others = each.span("other_cores")
            table.add_row(
                CLIENTS[each.client].about,
                f"{each.median('efficiency'):.3f}",
                f"{each.median('calls_per_s'):.0f}",
                f"{each.median('cpu_ms_per_call'):.2f}",
                f"{each.median('rss_mib'):.0f}",
                f"{others[1]:.1f}" if others else "",
            )
        console.print(table)
    for goal, said, met in goals(loads):
        console.print(f"{'met' if met else 'not met'}: {goal}: {said}", soft_wrap=True)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    about, _, example = (__doc__ or "").partition("\n    python")
    parser = argparse.ArgumentParser(
        prog="python -m bench.throughput",
        description=about,
        epilog="examples:\n    python" + example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="few dialogues, few clients, once each: about 3 minutes in all")
    add("--clients", nargs="+", choices=list(CLIENTS), metavar="NAME", help=f"of {', '.join(CLIENTS)}")
    add("--latency", type=float, metavar="MS", help="one load instead of several; with --slots")
    add("--slots", type=_at_least_one, help="one load instead of several; with --latency")
    add("--repeats", type=_at_least_one, help="default: 3, with --quick 1")
    add(
        "--dialogues",
        type=_at_least_one,
        help="of four rounds, by psyllm; default: 1000, at 50 ms 400, with --quick 120",
    )
    add("--items", type=_at_least_one, help="items of four calls that a peer makes; default: by load")
    add(
        "--out",
        type=Path,
        help=f"folder of the results; default: {RESULTS.relative_to(ROOT)}/throughput, or throughput-quick",
    )
    add(
        "--environments",
        type=Path,
        metavar="FOLDER",
        default=Path(os.environ.get("PSYLLM_BENCH_ENVIRONMENTS") or ROOT / ".venv-bench"),
        help="where the peers' packages are, or are put; default: $PSYLLM_BENCH_ENVIRONMENTS, or .venv-bench",
    )
    return parser


def _loads(given: argparse.Namespace) -> list[Load]:
    loads: Sequence[Load] = QUICK if given.quick else FULL
    if given.latency is not None:
        known = [load for load in loads if (load.latency_ms, load.slots) == (given.latency, given.slots)]
        loads = known or [replace(loads[0], latency_ms=given.latency, slots=given.slots, beside=())]
    changes: dict[str, Any] = {name: value for name in ("dialogues", "items") if (value := getattr(given, name))}
    if given.clients:
        changes["clients"] = tuple(name for name in CLIENTS if name in given.clients)
    return [replace(load, **changes) for load in loads]


def main() -> None:
    parser = _parser()
    given = parser.parse_args()
    if (given.latency is None) != (given.slots is None):
        parser.error("--latency and --slots go together, for example --latency 200 --slots 64")
    loads = _loads(given)
    out = given.out or RESULTS / ("throughput-quick" if given.quick else "throughput")
    repeats = given.repeats or (1 if given.quick else 3)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # keeps what was measured, as Ctrl-C does
    with tempfile.TemporaryDirectory(prefix="psyllm-bench-") as scratch:
        session = Session(Bench(Path(scratch), Environments(given.environments.absolute())), loads, repeats)
        about = described() | {"arguments": sys.argv[1:], "repeats": repeats}
        since = time.perf_counter()
        calls = max(
            (load.dialogues for load in loads if set(load.clients) & {"psyllm", "psyllm-2", "replay"}), default=0
        )
        planned = session.seconds_left() + RECORDED_S * calls * CALLS
        console.print(f"{session.planned} measurements, about {_minutes(planned)}; results go to {out}", soft_wrap=True)
        try:
            session.install()
            session.record()
            session.run()
        except KeyboardInterrupt:
            about["stopped"] = True
            console.print("stopped")
        except Failure as failure:
            console.print(f"psyllm itself could not grow: {failure}", soft_wrap=True)
            sys.exit(1)
        about |= {"planned": session.planned, "measured": len(session.rows)}
        about["minutes"] = (time.perf_counter() - since) / 60
        environments = dict.fromkeys(CLIENTS[row["client"]] for row in session.rows if "failed" not in row)
        for client in environments:
            if client.environment and client.environment not in about["packages"]:
                about["packages"][client.environment] = frozen(session.bench.environments.python(client))
    if not session.rows:
        console.print("nothing was measured; the results that were there are as they were")
        sys.exit(130)
    write(out, about, session.rows)
    _show(session.rows)
    console.print(f"in {out}: README.md, plot.svg, plot.png, measurements.jsonl", soft_wrap=True)
    sys.exit(130 if about.get("stopped") else 0)


if __name__ == "__main__":
    main()
