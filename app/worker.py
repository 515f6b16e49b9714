"""One worker of `psyllm grow --workers N`: grows the posts of one database. Started by app/workers.py.

A pickled Job comes in on stdin, Reports go out on stdout, a line each, the last of them final. The end of stdin stops
it cleanly, so that it does not outlive its parent.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from pydantic import Field

from agents.cast import checked_library
from app.grow import GrowOptions, not_over
from app.screen import console
from app.seats import seated_grower
from corpus.posts import Reader, Recipe
from corpus.waiting import Waiting
from psyllm.errors import Boundary, Failure, PsyllmError, UsageError
from psyllm.journal import Journal
from psyllm.logs import configure
from psyllm.records import Record, Status
from psyllm.settings import Rules, Settings

if TYPE_CHECKING:
    from graphs.grow import Grower

REPORT_S = 0.2


@dataclass(frozen=True)
class Job:
    """What a worker is to do."""

    options: GrowOptions
    settings: Settings
    """With this worker's share of the places for calls."""
    rules: Rules
    shard: int
    folder: Path
    """Where its database is."""


class Report(Record):
    """How far a worker is."""

    open: int = 0
    by_status: dict[Status, int] = Field(default={})
    by_reason: dict[str, int] = Field(default={})
    calls: int = 0
    reused: int = 0
    retries: int = 0
    usage: dict[str, int] = Field(default={})
    """Tokens: prompt, cached, completion."""
    cost_usd: float = 0.0
    unpriced: bool = False
    at_desk: int = 0
    troubled: tuple[str, ...] = ()
    """A line for every endpoint that does not answer as it should."""
    final: bool = False
    error: str = ""
    """What was fatal; empty if nothing was."""
    hint: str = ""
    boundary: Boundary | None = None
    """Of a Failure; None for a UsageError."""

    @classmethod
    def of(cls, grower: Grower, *, final: bool = False) -> Report:
        tally, meter = grower.tally, grower.caller.meter
        return cls(
            open=tally.open,
            by_status=dict(tally.by_status),
            by_reason=dict(tally.by_reason),
            calls=meter.calls,
            reused=meter.reused,
            retries=meter.retries,
            usage=dict(meter.usage),
            cost_usd=meter.cost_usd,
            unpriced=meter.unpriced,
            at_desk=meter.at_desk,
            troubled=tuple(grower.caller.troubled()),
            final=final,
        )

    def raised(self) -> PsyllmError | None:
        """What was fatal, as it was raised in the worker."""
        if not self.error:
            return None
        if self.boundary is None:
            return UsageError(self.error, hint=self.hint)
        return Failure(self.boundary, self.error, hint=self.hint, fatal=True)


def main() -> None:
    """Do the job; what is fatal is reported, and the exit code is that of the command."""
    job: Job = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own parent wrote it)
    configure(as_json=job.options.log_json)
    console.quiet = True
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_work(job))
        except PsyllmError as error:
            boundary = error.boundary if isinstance(error, Failure) else None
            _send(Report(final=True, error=str(error), hint=error.hint, boundary=boundary))
            sys.exit(error.exit_code)


async def _work(job: Job) -> None:
    options = job.options
    library = checked_library(options.prompts or job.settings.prompts)
    recipe = Recipe.load(options.recipe) if options.recipe else Recipe()
    reader = Reader(recipe.sources(options.posts), recipe, skip_invalid=options.skip_invalid)

    def begin(journal: Journal) -> Waiting:
        ended = journal.statuses()
        ids = {name for name in journal.origins() if not_over(ended.get(name), options.failed)}
        return Waiting.of(reader, journal, ids, limit=options.limit, keep_raw=options.keep_raw)

    async with seated_grower(
        job.settings, options, job.rules, library, begin, folder=job.folder, shard=job.shard
    ) as grower:
        _listen(asyncio.get_running_loop(), grower)
        reports = asyncio.create_task(_report(grower))
        try:
            await grower.run()
        finally:
            reports.cancel()
            with suppress(asyncio.CancelledError):
                await reports
        grower.journal.flush()
        _send(Report.of(grower, final=True))


def _listen(loop: asyncio.AbstractEventLoop, grower: Grower) -> None:
    """Stop cleanly at the end of stdin."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        with suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(grower.stop)

    threading.Thread(target=wait, daemon=True).start()


async def _report(grower: Grower) -> None:
    while True:
        await asyncio.sleep(REPORT_S)
        _send(Report.of(grower))


def _send(report: Report) -> None:
    sys.stdout.write(report.model_dump_json(exclude_defaults=True) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
