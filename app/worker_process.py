"""One process of a crew: app/worker.py over one database, spoken to through pipes."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import cast

from app.worker import Job, Report


class WorkerProcess:
    """Grows the posts of one database, on this machine."""

    lost: str = "was killed; another goes on in its place"

    def __init__(self, job: Job, say: Callable[[str], object] = sys.stderr.write) -> None:
        """`say` takes what it writes to stderr, a line at a time, so that lines of several do not mix."""
        self._job = job
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    async def reports(self) -> AsyncIterator[Report]:
        """From its start to its end; the last is final, unless it was killed."""
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal reaches the parent alone
            limit=1 << 20,
        )
        stdin = cast(asyncio.StreamWriter, process.stdin)
        stdin.write(pickle.dumps(self._job))
        if self._stopping:
            stdin.close()
        words = asyncio.create_task(self._repeat(cast(asyncio.StreamReader, process.stderr)))
        try:
            async for line in cast(asyncio.StreamReader, process.stdout):
                yield Report.model_validate_json(line)
            await process.wait()
            await words
        finally:
            stdin.close()

    def stop(self) -> None:
        """Start no more calls; calls in flight end."""
        self._stopping = True
        if self._process is not None:
            cast(asyncio.StreamWriter, self._process.stdin).close()

    async def end(self) -> None:
        """At once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()

    async def _repeat(self, words: asyncio.StreamReader) -> None:
        async for line in words:
            self._say(line.decode(errors="replace"))
