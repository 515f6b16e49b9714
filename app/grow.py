"""`psyllm grow`: from a command line to a finished or cleanly stopped run.

The graph takes a second to load; wrong input is told before that.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import uvloop

from agents.cast import checked_library
from app.screen import STOPPED, calls_wait, console, growing
from app.seats import introduce, seated_grower
from corpus.posts import Reader, Recipe
from corpus.waiting import Waiting
from prompts.library import Library
from psyllm.budget import Budget
from psyllm.desk import FOLDER as DESK
from psyllm.desk import waiting_calls
from psyllm.errors import UsageError
from psyllm.journal import DATABASE, Journal, shard_numbers
from psyllm.logs import configure
from psyllm.records import Status
from psyllm.servers import embedded_weights
from psyllm.settings import Rules, Settings, load_settings

if TYPE_CHECKING:
    from graphs.grow import Grower, Tally


@dataclass(frozen=True)
class GrowOptions:
    """What the command line said; None means: as psyllm.toml says."""

    posts: list[Path]
    run: Path
    limit: int | None = None
    profile: str | None = None
    modalities: tuple[str, ...] = ()
    rounds: str | None = None
    seed: int | None = None
    concurrency: int | None = None
    prompts: Path | None = None
    skip_invalid: bool = False
    recipe: Path | None = None
    client_words: str | None = None
    keep_all: bool = False
    keep_raw: bool = False
    rehearsal_latency_ms: float = 0
    settings: Path | None = None
    answers_from: Path | None = None
    """A run whose paid calls are taken over where they are the same."""
    log_json: bool = False
    review: bool = False
    budget: Budget = field(default_factory=Budget)
    failed: Literal["leave", "only", "too"] = "leave"
    """What becomes of dialogues that failed in an earlier start; `only` tries nothing else."""
    workers: int = 0
    """Each has a database of its own; 0 stands for one, and with Ray for as many as the cluster has cores."""
    engine: Literal["processes", "ray"] = "processes"
    """Where workers run: on this machine, or on those of a Ray cluster."""
    address: str | None = None
    """Of the cluster; None for one that runs here, or a new one."""
    snapshots: str | None = None
    """URL of the storage where nodes keep their snapshots; None for the run folder, which all of them must see then."""
    snapshot_s: float | None = None
    """Seconds between two snapshots of a database that grows on a cluster; None for the default."""


@dataclass(frozen=True)
class End:
    """How a start of a run ended."""

    tally: Tally
    limit: str
    """The limit that stopped it, with what was spent; '' for none."""
    failed: int
    """Dialogues that have failed, in this start or an earlier one."""

    @property
    def stopped(self) -> bool:
        return self.tally.done < self.tally.total


def grow_command(options: GrowOptions) -> None:
    """Grow, show progress, say how to go on. Raises UsageError or Failure; exits with 130 after Ctrl-C."""
    if code := grow(options):
        sys.exit(code)


def grow(options: GrowOptions) -> int:
    """As the command, but returns its exit code: 0, also at a limit; 1 if dialogues failed; STOPPED after Ctrl-C."""
    configure(as_json=options.log_json)
    console.quiet = options.log_json
    settings = load_settings(options.settings)
    rules = _rules(settings, options)
    library = checked_library(options.prompts or settings.prompts)
    for name in (*rules.modalities, *rules.coverage):
        library.modality(name)
    if not rules.shares(library.modalities):
        raise UsageError(
            f"no modality is left: [coverage] weighs {', '.join(rules.coverage)},"
            f" and on offer are {', '.join(rules.modalities or library.modalities)}",
            hint="give one of those on offer a weight above 0 in [coverage]",
        )
    models = {name: settings.models[name] for name in settings.cast(options.profile).values()}
    options.budget.check(models)
    if options.engine != "ray" and (options.address or options.snapshots or options.snapshot_s):
        raise UsageError("--address, --snapshots and --snapshot-every are for a Ray cluster", hint="add --engine ray")
    if re.match(r"\w+:/", str(options.run)):
        raise UsageError(
            f"--run {options.run} is no folder",
            hint="with --engine ray, object storage is --snapshots URL beside --run",
        )
    if options.failed == "only" and not (options.run / DATABASE).exists():
        raise UsageError(f"{options.run} holds no run", hint="leave out --retry-failed to start one")
    for name, model in models.items():
        model.api_key(name)
        if model.kind == "embedded":
            embedded_weights()
    waiting = _read(options)
    if options.engine == "ray":
        from app.ray_engine import grow_on_ray as work
    elif options.workers > 1 or len(shard_numbers(options.run)) > 1:
        from app.workers import grow_sharded as work
    else:
        work = _grow
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            end = runner.run(work(settings, options, rules, library, waiting))
        except (asyncio.CancelledError, KeyboardInterrupt):
            console.print("stopped at once; finished calls are kept, and the same command goes on", style="yellow")
            _say_what_waits(options.run)
            return STOPPED
    _farewell(options, end)
    if end.stopped:
        return 0 if end.limit else STOPPED
    return 1 if end.tally.by_status[Status.FAILED] else 0


def _rules(settings: Settings, options: GrowOptions) -> Rules:
    changes: dict[str, object] = {}
    if options.rounds is not None:
        match = re.fullmatch(r"([1-8])(?:-([1-8]))?", options.rounds)
        if not match or int(match[1]) > int(match[2] or match[1]):
            raise UsageError(f"--rounds {options.rounds!r} is not a range within 1-8", hint="for example --rounds 2-4")
        changes |= {"min_rounds": int(match[1]), "max_rounds": int(match[2] or match[1])}
    if options.seed is not None:
        changes["seed"] = options.seed
    if options.modalities:
        changes["modalities"] = options.modalities
    if options.client_words is not None:
        changes["client_words"] = options.client_words
    if options.keep_all:
        changes["keep_all"] = True
    return Rules.model_validate(settings.rules.model_dump() | changes)


def _read(options: GrowOptions) -> Waiting:
    """Go through the sources once, and say what was found."""
    recipe = Recipe.load(options.recipe) if options.recipe else Recipe()
    reader = Reader(recipe.sources(options.posts), recipe, skip_invalid=options.skip_invalid)
    waiting = Waiting(reader, limit=options.limit, keep_raw=options.keep_raw)
    if reader.skipped:
        console.print(f"skipped {reader.skipped} invalid posts:", style="yellow")
        for line in (*reader.mistakes, *(["..."] if reader.skipped > len(reader.mistakes) else [])):
            console.print(f"  {line}", soft_wrap=True)
    if reader.extra_fields:
        console.print(f"kept as metadata: {', '.join(sorted(reader.extra_fields))}", style="dim", soft_wrap=True)
    if not waiting.total:
        raise UsageError(f"no post to grow from in {', '.join(map(str, options.posts))}", hint="each post needs a text")
    return waiting


def not_over(status: Status | None, failed: Literal["leave", "only", "too"]) -> bool:
    """Whether a start goes for a post whose dialogue ended so; None if it never did."""
    if status is Status.FAILED:
        return failed != "leave"
    return failed != "only" and status in (None, Status.IN_REVIEW)


async def _grow(settings: Settings, options: GrowOptions, rules: Rules, library: Library, waiting: Waiting) -> End:
    def begin(journal: Journal) -> Waiting:
        ended = journal.statuses()
        waiting.begin(journal, lambda post_id: not not_over(ended.get(post_id), options.failed))
        if options.failed == "only":
            waiting.total, waiting.before = waiting.total - waiting.before, 0
        introduce(settings, options, library, journal)
        journal.flush()
        return waiting

    async with seated_grower(settings, options, rules, library, begin, folder=options.run) as grower:
        caller = grower.caller
        tell_people(settings, options)
        loop = asyncio.get_running_loop()
        with (
            _interruptible(loop, grower),
            growing(grower.cast.rehearsal, live=console.is_terminal and not options.log_json) as show,
        ):
            grower.on_dialogue = lambda _: show.refresh()
            show.watch(grower.tally, caller.meter, options.run, caller.troubled)
            with _limited(loop, grower, options.budget) as limit:
                await grower.run()
        grower.journal.flush()
        return End(grower.tally, limit.reached, len(grower.journal.failed()))


def tell_people(settings: Settings, options: GrowOptions) -> None:
    """Say where a run waits for them."""
    if "desk" in settings.kinds(options.profile):
        console.print(f"some calls will wait in {options.run / DESK}; answer them with {_at_desk(options.run)}")
    if options.review:
        console.print(f"accepted dialogues wait for a person: psyllm view {options.run}", soft_wrap=True)


def _at_desk(run: Path) -> str:
    return f"`psyllm desk {run}`"


class _interruptible:
    """SIGINT and SIGTERM stop cleanly; a second one stops at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, grower: Grower) -> None:
        self._loop = loop
        self._grower = grower
        self._task = asyncio.current_task()

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._stop)

    def __exit__(self, *exc: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self._grower.caller.stopping.is_set() and self._task:
            self._task.cancel()
            return
        console.print("stopping: calls in flight may end; once more stops at once", style="yellow")
        self._grower.stop()


class _limited:
    """A limit that is reached stops cleanly, before the first call if need be."""

    def __init__(self, loop: asyncio.AbstractEventLoop, grower: Grower, budget: Budget) -> None:
        self._loop = loop
        self._grower = grower
        self._budget = budget
        self.reached = ""
        """The limit, and what was spent."""

    def __enter__(self) -> Self:
        budget = self._budget
        if budget.max_cost is not None or budget.max_tokens is not None:
            self._before = self._grower.journal.spent()
            if budget.max_cost is not None and self._before.unpriced:
                console.print(
                    f"{self._before.unpriced} earlier answers have no price, and count nothing for --max-cost",
                    style="yellow",
                )
            self._grower.caller.on_answer = self._look
            self._look()
        if budget.max_hours is not None:
            self._timer = self._loop.call_later(
                3600 * budget.max_hours, self._stop, f"--max-hours {budget.max_hours:g}"
            )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._budget.max_hours is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if limit := self._budget.reached(self._grower.caller.meter.spent(self._before)):
            self._stop(limit)

    def _stop(self, limit: str) -> None:
        if not self._grower.caller.stopping.is_set() or self.reached:
            self.reached = limit
            self._grower.stop()


def _farewell(options: GrowOptions, end: End) -> None:
    run, tally = options.run, end.tally
    waiting = tally.by_status[Status.IN_REVIEW]
    counts = ", ".join(
        f"{tally.by_status[status]} {status.replace('_', ' ')}"
        for status in Status
        if tally.by_status[status] or not status.rare
    )
    if options.failed == "only" and not tally.total:
        console.print(f"no dialogue of {run} has failed")
    elif options.failed == "only":
        console.print(f"{tally.done} of {tally.total} failed dialogues tried again: {counts}")
    elif tally.before == tally.total:
        console.print(f"all {tally.total} posts were done before")
    else:
        now = f", {tally.done - tally.before} of them now" if tally.before else ""
        console.print(f"{tally.done} of {tally.total} posts done{now}: {counts}")
    if end.stopped and end.limit:
        higher = f" with a higher {end.limit.split()[0]}" if ":" in end.limit else ""
        console.print(
            f"stopped at {end.limit}; nothing is lost, and the same command{higher} goes on",
            style="yellow",
            soft_wrap=True,
        )
    elif end.stopped:
        console.print("stopped; nothing is lost, and the same command goes on", style="yellow")
    if end.failed:
        again = "" if options.failed == "too" else " with --retry-failed"
        console.print(
            f"{end.failed} failed: `psyllm status {run} --failed` says why, the same command{again} tries them again",
            style="yellow",
            soft_wrap=True,
        )
    if waiting:
        console.print(f"{waiting} in review: psyllm view {run}, then the same command", style="yellow", soft_wrap=True)
    _say_what_waits(run)
    console.print(f"next: psyllm status {run}", style="dim", soft_wrap=True)


def _say_what_waits(run: Path) -> None:
    if waiting := len(waiting_calls(run)):
        console.print(
            f"{calls_wait(waiting)} at the desk; answer with {_at_desk(run)}",
            style="yellow",
            soft_wrap=True,
        )
