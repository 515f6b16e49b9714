"""A worker's place on a machine of a Ray cluster: app/worker.py over a database on its own disk, and snapshots of it.

Started by app/ray_engine.py as an actor. One that takes the place of another, here or elsewhere, goes on from the last
snapshot.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from app.worker import Job, Report
from app.worker_process import WorkerProcess
from psyllm.errors import Failure
from psyllm.snapshots import Snapshots


@dataclass(frozen=True)
class News:
    """What the driver is told."""

    report: Report
    said: tuple[str, ...] = ()
    """Lines that the worker wrote to stderr since."""


class Node:
    """Grows one database. Keys come from the environment of this machine, never from the driver."""

    def __init__(self, job: Job, url: str, every_s: float) -> None:
        """Snapshots go to `url` every so many seconds, and at the end."""
        self._job = job
        self._snapshots = Snapshots(url)
        self._every_s = every_s
        self._said: list[str] = []
        self._trouble = ""
        self._worker: WorkerProcess | None = None
        self._stopping = False
        self._over = asyncio.Event()

    async def reports(self) -> AsyncIterator[News]:
        """As of a worker process. The last comes when the last snapshot is safe."""
        job = self._job
        name = f"psyllm-{hashlib.sha256(self._snapshots.url.encode()).hexdigest()[:12]}-{job.shard}-"
        folder = Path(await asyncio.to_thread(_fresh, name))
        last = Report()
        try:
            await asyncio.to_thread(self._snapshots.fetch, job.shard, folder)
            self._worker = worker = WorkerProcess(replace(job, folder=folder), self._said.append)
            if self._stopping:
                worker.stop()
            keeping = asyncio.create_task(self._keep(folder))
            async for last in worker.reports():
                if not last.final:
                    yield self._news(last)
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            await self._save_the_last(folder)
        except Failure as failure:
            last = Report(final=True, error=str(failure), hint=failure.hint, boundary=failure.boundary)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self._over.set()
        yield self._news(last)

    async def stop(self) -> None:
        """Start no more calls; calls in flight end."""
        self._stopping = True
        if self._worker is not None:
            self._worker.stop()

    async def end(self) -> None:
        """At once, but for the last snapshot."""
        self._stopping = True
        if self._worker is not None:
            await self._worker.end()
            await self._over.wait()

    def _news(self, report: Report) -> News:
        said, self._said[:] = tuple(self._said), []
        if report.error:
            report = report.model_copy(update={"error": f"on {socket.gethostname()}: {report.error}"})
        if self._trouble:
            report = report.model_copy(update={"troubled": (*report.troubled, self._trouble)})
        return News(report, said)

    async def _keep(self, folder: Path) -> None:
        """Keep snapshots, and spend a tenth of the time on it at most. One that fails is told; the next may succeed."""
        took = 0.0
        while True:
            await asyncio.sleep(max(self._every_s, 9 * took))
            began = time.monotonic()
            try:
                await asyncio.to_thread(self._snapshots.save, self._job.shard, folder)
                self._trouble = ""
            except Failure as failure:
                self._trouble = str(failure)
            took = time.monotonic() - began

    async def _save_the_last(self, folder: Path) -> None:
        """Raises Failure if it cannot be written; the database is kept here then."""
        for wait_s in (1, 3, 0):
            try:
                await asyncio.to_thread(self._snapshots.save, self._job.shard, folder)
            except Failure as failure:
                problem = failure
                await asyncio.sleep(wait_s)
            else:
                return
        kept = await asyncio.to_thread(folder.rename, folder.with_name(f"kept-{folder.name}"))
        raise Failure("store", f"{problem}; the database is kept there in {kept}", hint=problem.hint)


def _fresh(name: str) -> str:
    """A folder that only we can read; what a lost worker of the same database left here goes."""
    for left in Path(tempfile.gettempdir()).glob(f"{name}*"):
        shutil.rmtree(left, ignore_errors=True)
    return tempfile.mkdtemp(prefix=name)
