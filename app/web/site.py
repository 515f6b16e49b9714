"""The run that a viewer shows: its journals, index and labels, opened once and read by one request at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.web.guard import Secrets
from app.web.query import Query
from clinical import Knowledge
from psyllm.labels import LABELS, Label, Labels
from psyllm.records import Status
from psyllm.runs import Run
from psyllm.runs.find import places
from psyllm.runs.index import Index


class Site:
    """Close it when the server has ended."""

    def __init__(self, folder: Path, token: str = "") -> None:
        """Raises UsageError if there is no run."""
        self.run = Run(folder)
        self.index = Index(self.run)
        self.labels = Labels(folder)
        self.knowledge = Knowledge.load()
        self.secrets = Secrets(token)
        self.name = folder.resolve().name
        self.reading_in: tuple[int, int] | None = (0, 0)
        """How far the words are indexed, (done, of how many); None once a search takes them in by itself."""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._take_in_words, name="words", daemon=True)
        self._reader.start()

    def close(self) -> None:
        self._closing.set()
        self._reader.join()
        self.index.close()
        self.run.close()

    @contextmanager
    def reading(self, *, words: bool = False) -> Iterator[Run]:
        """The run and its index as of now, for one request."""
        with self._lock:
            self.index.refresh(words=words and self.reading_in is None)
            yield self.run

    def version(self) -> str:
        """Changes whenever a page may look different."""
        with self._lock:
            seen = [number for pair in self.run.versions() for number in pair]
        for name in (LABELS, f"{LABELS}-wal"):
            file = self.run.folder / name
            seen.append(file.stat().st_mtime_ns if file.exists() else 0)
        return "-".join(map(str, seen))

    def order(self, query: Query, labels: dict[str, Label]) -> Sequence[tuple[str, Status]]:
        """The dialogues that a query lists, in its order."""
        found = places(self.index, query.wanted)
        return [place for place in found if query.has(labels.get(place[0]))] if query.label else found

    def _take_in_words(self) -> None:
        """Bring the full text up to date on connections of its own; pages are served meanwhile."""

        def progress(done: int, total: int) -> None:
            self.reading_in = (done, total)
            if self._closing.is_set():
                raise InterruptedError

        try:
            with Run(self.run.folder) as run, Index(run) as index:
                index.refresh(words=True, progress=progress)
        except InterruptedError:
            return
        finally:
            self.reading_in = None
