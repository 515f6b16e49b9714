"""`psyllm grow --workers N`: N processes grow one run, each a database of its own; here is what joins them.

The parent gives every post to one database (corpus/shards.py), starts a process for each database that has something
to do, N at a time, adds their reports up, and stops all at Ctrl-C, when a limit is reached or one reports what
is fatal. A worker that was killed is replaced, and goes on from what its database holds.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from app.grow import End, GrowOptions, not_over, tell_people
from app.screen import console, growing
from app.seats import introduce
from app.worker import Job, Report
from app.worker_process import WorkerProcess
from corpus.shards import place
from corpus.waiting import Waiting
from graphs.grow import Tally
from graphs.table import fingerprint
from prompts.library import Library
from psyllm import __version__
from psyllm.budget import Budget, Spent
from psyllm.calls import Meter
from psyllm.errors import Failure, PsyllmError
from psyllm.journal import Journal, shard_numbers
from psyllm.records import Status
from psyllm.runs import Run
from psyllm.settings import Rules, Settings

Name = TypeVar("Name")
REPLACED = 3
"""How often a worker that was killed is replaced before the run stops."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Worker(Protocol):
    """Whoever grows the posts of one database."""

    lost: str
    """What is said when it ends without a last word."""

    def reports(self) -> AsyncIterator[Report]:
        """From its start to its end; the last is final, unless it was lost."""

    def stop(self) -> None:
        """Start no more calls; calls in flight end."""

    async def end(self) -> None:
        """At once."""


@dataclass
class Sum:
    """The reports of all workers added up, for the screen and for the limits."""

    tally: Tally
    meter: Meter = field(default_factory=Meter)
    now: dict[int, Report] = field(default_factory=dict)
    """Shard -> the last report of its worker."""
    past: list[Report] = field(default_factory=list)
    """The last reports of workers that were replaced."""

    def add(self, shard: int, report: Report) -> None:
        self.now[shard] = report
        all_reports = (*self.now.values(), *self.past)
        tally, meter = self.tally, self.meter
        tally.open = sum(report.open for report in all_reports)
        tally.by_status = _added(report.by_status for report in all_reports)
        tally.by_reason = _added(report.by_reason for report in all_reports)
        meter.calls = sum(report.calls for report in all_reports)
        meter.reused = sum(report.reused for report in all_reports)
        meter.retries = sum(report.retries for report in all_reports)
        meter.usage.update(_added(report.usage for report in all_reports))
        meter.cost_usd = sum(report.cost_usd for report in all_reports)
        meter.unpriced = any(report.unpriced for report in all_reports)
        meter.at_desk = sum(report.at_desk for report in all_reports)

    def troubled(self) -> list[str]:
        """What workers say of endpoints, and which worker says so."""
        return [f"worker {shard}: {line}" for shard, report in self.now.items() for line in report.troubled]


@dataclass(frozen=True)
class Plan:
    """What is to be done: the posts of each database that go on, and what was before."""

    posts: dict[int, set[str]]
    """Shard -> ids of the posts that go on there."""
    tally: Tally
    spent: Spent


async def grow_sharded(
    settings: Settings, options: GrowOptions, rules: Rules, library: Library, waiting: Waiting
) -> End:
    """Grow with several processes. Raises UsageError or Failure, the first that a worker reports."""
    options = replace(options, workers=options.workers or 1)
    planned = plan(settings, options, rules, library, waiting)
    return await work_through(planned, settings, options, rules, WorkerProcess, lambda: options.run)


async def work_through(
    planned: Plan,
    settings: Settings,
    options: GrowOptions,
    rules: Rules,
    hire: Callable[[Job], Worker],
    now: Callable[[], Path],
) -> End:
    """Have a crew do what is planned. `now` gives a folder in which the run can be read as it is."""
    total = Sum(planned.tally)
    tell_people(settings, options)
    with growing(
        "rehearsal" in settings.kinds(options.profile), live=console.is_terminal and not options.log_json
    ) as show:
        show.watch(total.tally, total.meter, options.run, total.troubled)
        crew = Crew(settings, options, rules, planned, total, show.refresh, hire, now)
        await crew.run()
    if crew.fatal is not None:
        raise crew.fatal
    with Run(now()) as run:
        return End(total.tally, crew.limit, run.status_counts()[Status.FAILED])


def plan(settings: Settings, options: GrowOptions, rules: Rules, library: Library, waiting: Waiting) -> Plan:
    """Give every post to one of the databases in `options.run`, making those that are missing."""
    facts = fingerprint(settings, options.profile, rules, library)
    known = shard_numbers(options.run)
    with ExitStack() as stack:
        journals: dict[int, Journal] = {}
        for number in sorted({*known, *range(options.workers)}):
            journals[number] = Journal.open(options.run, facts, __version__, shard=number)
            stack.callback(journals[number].close)
            introduce(settings, options, library, journals[number])
        placed = place(waiting.origins, journals, options.workers)
        ended = {number: journal.statuses() for number, journal in journals.items()}
        spent = [journal.spent() for journal in journals.values()]
    posts: dict[int, set[str]] = {}
    for post_id, number in placed.items():
        if not_over(ended[number].get(post_id), options.failed):
            posts.setdefault(number, set()).add(post_id)
    count = sum(map(len, posts.values()))
    tally = Tally(count) if options.failed == "only" else Tally(waiting.total, waiting.total - count)
    return Plan(
        posts,
        tally,
        Spent(sum(s.cost_usd for s in spent), sum(s.tokens for s in spent), sum(s.unpriced for s in spent)),
    )


class Crew:
    """The workers of one start."""

    def __init__(
        self,
        settings: Settings,
        options: GrowOptions,
        rules: Rules,
        plan: Plan,
        total: Sum,
        on_report: Callable[[], None],
        hire: Callable[[Job], Worker],
        now: Callable[[], Path],
    ) -> None:
        self._settings = settings
        self._options = replace(options, budget=Budget())
        self._budget = options.budget
        self._rules = rules
        self._plan = plan
        self._sum = total
        self._on_report = on_report
        self._hire = hire
        self._now = now
        self._places = asyncio.Semaphore(options.workers)
        self._workers: dict[int, Worker] = {}
        self._stopping = False
        self.fatal: PsyllmError | None = None
        self.limit = ""
        """The limit that was reached, with what was spent."""

    async def run(self) -> None:
        """Until all is done, or stopped. A second signal cancels."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupted() -> None:
            if self._stopping and task:
                task.cancel()
                return
            console.print("stopping: calls in flight may end; once more stops at once", style="yellow")
            self.stop()

        for number in SIGNALS:
            loop.add_signal_handler(number, interrupted)
        hours = self._budget.max_hours
        timer = None
        if hours is not None:
            timer = loop.call_later(3600 * hours, self._reached, f"--max-hours {hours:g}")
        try:
            self._look()
            async with asyncio.TaskGroup() as group:
                for shard in sorted(self._plan.posts, key=lambda shard: len(self._plan.posts[shard])):
                    group.create_task(self._keep(shard))
        except asyncio.CancelledError:
            await asyncio.gather(*(worker.end() for worker in self._workers.values()))
            raise
        finally:
            if timer is not None:
                timer.cancel()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def stop(self, failure: PsyllmError | None = None) -> None:
        """Start no more calls anywhere; calls in flight end."""
        self.fatal = self.fatal or failure
        if not self._stopping:
            self._stopping = True
            for worker in self._workers.values():
                worker.stop()

    async def _keep(self, shard: int) -> None:
        """Have one database grown; a worker that was lost is replaced."""
        async with self._places:
            for n in range(1 + REPLACED):
                if self._stopping:
                    return
                worker = self._workers[shard] = self._hire(self._job(shard))
                last = await self._heed(shard, worker)
                del self._workers[shard]
                if last.final:
                    return
                self._sum.past.append(self._left(shard, self._sum.now.pop(shard, Report())))
                self._sum.add(shard, Report())
                if not self._stopping:
                    console.print(f"worker {shard} {worker.lost}", style="yellow")
                    await asyncio.sleep(n)
            hint = "is there memory enough? the same command goes on"
            self.stop(Failure("store", f"worker {shard} was lost {1 + REPLACED} times", hint=hint, fatal=True))

    async def _heed(self, shard: int, worker: Worker) -> Report:
        """Take in what a worker reports until it ends; its last report, which is not final if it was lost."""
        last = Report()
        async for last in worker.reports():
            if last.error:
                self.stop(last.raised())
                continue
            self._sum.add(shard, last)
            self._on_report()
            self._look()
        return last

    def _job(self, shard: int) -> Job:
        """The places for calls are shared out, so that an endpoint sees no more of them than with one worker."""
        options, workers = self._options, self._options.workers

        def share(places: int) -> int:
            return max(1, (places + workers - 1 - shard % workers) // workers)

        models = {
            name: model if model.kind == "desk" else model.model_copy(update={"concurrency": share(model.concurrency)})
            for name, model in self._settings.models.items()
        }
        if options.concurrency is not None:
            options = replace(options, concurrency=share(options.concurrency))
        settings = self._settings.model_copy(update={"models": models})
        return Job(options, settings, self._rules, shard, options.run)

    def _left(self, shard: int, last: Report) -> Report:
        """The last report of a worker that was lost, with the dialogues that its database says it finished."""
        with Run(self._now()) as run:
            ended = run.statuses()
        over = (ended[name] for name in self._plan.posts[shard] & ended.keys())
        done = Counter(status for status in over if not not_over(status, self._options.failed))
        return last.model_copy(update={"by_status": dict(done), "open": 0, "at_desk": 0})

    def _look(self) -> None:
        if limit := self._budget.reached(self._sum.meter.spent(self._plan.spent)):
            self._reached(limit)

    def _reached(self, limit: str) -> None:
        if not self._stopping or self.limit:
            self.limit = limit
            self.stop()


def _added(counts: Iterable[dict[Name, int]]) -> Counter[Name]:
    total: Counter[Name] = Counter()
    for count in counts:
        total.update(count)
    return total
