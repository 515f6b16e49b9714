"""What the terminal shows: one console for words on stderr, one for results on stdout, and the live view of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from app.plain import plain
from psyllm.records import Status

if TYPE_CHECKING:
    from pathlib import Path

    from graphs.grow import Tally
    from psyllm.calls import Meter


class PlainConsole(Console):
    """Shows words as they are: no markup in them is obeyed, no control character gets through."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)


console = PlainConsole(stderr=True)
out = PlainConsole()

STOPPED = 130
"""Exit code after Ctrl-C, as shells expect."""
COLOURS: Mapping[str, str] = {
    "accepted": "green",
    "rejected": "red",
    "screened_out": "yellow",
    "failed": "magenta",
    "in_review": "cyan",
    "evaluated": "cyan",
}
"""Status -> the colour in which every screen shows it."""
REHEARSAL = "rehearsal: stand-in words by rule, no model; for trying the software, not for training"


def tokens(count: int) -> str:
    """1234567 -> 1.2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def dollars(cost: float | None) -> str:
    """USD, or 'no price' where psyllm.toml gives none."""
    return "no price" if cost is None else f"${cost:.4f}" if cost < 1 else f"${cost:,.2f}"


def calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


def calls_wait(count: int) -> str:
    return f"{calls(count)} {'waits' if count == 1 else 'wait'}"


class GrowView:
    """Dialogues, calls a second, tokens, cost, accepted and rejected by reason, time left."""

    def __init__(self, rehearsal: bool) -> None:
        self._rehearsal = rehearsal
        self._watched: tuple[Tally, Meter, Path, Callable[[], Iterable[str]]] | None = None
        self._since = time.monotonic()
        self._progress = Progress(
            TextColumn("[bold]dialogues"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            expand=True,
        )
        self._task = self._progress.add_task("dialogues", total=None)

    def watch(
        self, tally: Tally, meter: Meter, run: Path, troubled: Callable[[], Iterable[str]] = tuple[str, ...]
    ) -> None:
        """Show these as they change; `troubled` says a line for every endpoint that does not answer as it should."""
        self._watched = (tally, meter, run, troubled)
        self._progress.update(self._task, total=tally.total, completed=tally.done)

    def refresh(self) -> None:
        if self._watched is not None:
            self._progress.update(self._task, completed=self._watched[0].done)

    def __rich__(self) -> Group:
        if self._watched is None:
            return Group(Text("starting ...", style="dim"))
        tally, meter, run, troubled = self._watched
        rate = meter.calls / max(1e-9, time.monotonic() - self._since)
        cost = None if meter.unpriced else meter.cost_usd
        grid = Table.grid(padding=(0, 2), pad_edge=False)
        grid.add_row(
            Text(f"{tally.by_status[Status.ACCEPTED]} accepted", style="green"),
            Text(f"{tally.by_status[Status.REJECTED]} rejected", style="red"),
            f"{tally.by_status[Status.SCREENED_OUT]} screened out",
            f"{tally.by_status[Status.FAILED]} failed",
            f"{tally.open} open",
            f"{tally.by_status[Status.IN_REVIEW]} in review" if tally.by_status[Status.IN_REVIEW] else "",
        )
        usage = meter.usage
        spent = Text(
            f"{meter.calls} calls, {rate:.1f}/s   {meter.reused} from the journal   {meter.retries} retries   "
            f"tokens {tokens(usage['prompt'])} in, {tokens(usage['cached'])} of it cached, "
            f"{tokens(usage['completion'])} out   {dollars(cost)}",
            style="dim",
        )
        rows: list[RenderableType] = [self._progress, grid, spent]
        rows += [Text(line, "yellow") for line in troubled()]
        if meter.at_desk:
            rows.append(Text(f"{meter.at_desk} waiting at the desk: psyllm desk {run}", "cyan"))
        if tally.by_reason:
            rows.append(Text("reasons: " + ", ".join(f"{code} {n}" for code, n in tally.by_reason.most_common(5))))
        if self._rehearsal:
            rows.append(Text(REHEARSAL, style="yellow"))
        return Group(*rows)


@contextmanager
def growing(rehearsal: bool, *, live: bool) -> Iterator[GrowView]:
    """The live view while a run grows; one line at most where stderr is no terminal."""
    view = GrowView(rehearsal)
    if not live:
        if rehearsal:
            console.print(REHEARSAL)
        yield view
        return
    with Live(view, console=console, refresh_per_second=8):
        yield view
