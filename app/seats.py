"""A grower at its table: the journal of one database, a cast on it that answers, and the posts that wait.

What `psyllm grow` and each of its workers have in common.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

from corpus.waiting import Waiting
from prompts.library import Library
from psyllm import __version__
from psyllm.errors import Failure
from psyllm.journal import Journal
from psyllm.labels import Labels
from psyllm.settings import Rules, Settings

if TYPE_CHECKING:
    from app.grow import GrowOptions
    from graphs.grow import Grower


@asynccontextmanager
async def seated_grower(
    settings: Settings,
    options: GrowOptions,
    rules: Rules,
    library: Library,
    begin: Callable[[Journal], Waiting],
    *,
    folder: Path,
    shard: int = 0,
) -> AsyncIterator[Grower]:
    """A grower that is ready to run. `begin` says which posts of the opened journal wait; no server runs before.

    Where the journal cannot be written, the grower is stopped. Raises UsageError or Failure, before any call.
    """
    from graphs.grow import Grower
    from graphs.table import fingerprint, seated

    loop = asyncio.get_running_loop()
    grower: Grower | None = None

    def on_failure(failure: Failure) -> None:
        if grower is not None:
            loop.call_soon_threadsafe(grower.stop, failure)

    facts = fingerprint(settings, options.profile, rules, library)
    with closing(Journal.open(folder, facts, __version__, on_failure, options.answers_from, shard)) as journal:
        waiting = begin(journal)
        async with seated(
            settings,
            options.profile,
            rules,
            library,
            journal,
            concurrency=options.concurrency,
            rehearsal_latency_ms=options.rehearsal_latency_ms,
        ) as (cast, caller):
            places = sum(each.places for each in {each.name: each for each in caller.endpoints.values()}.values())
            grower = Grower(
                cast,
                caller,
                journal,
                waiting,
                total=waiting.total,
                before=waiting.before,
                open_dialogues=2 * places,
                reviews=Labels(options.run) if options.review else None,
            )
            busy_loop()
            yield grower


def busy_loop() -> None:
    """Set the interpreter up for thousands of short-lived objects a second and one thread that writes them down."""
    sys.setswitchinterval(0.0001)  # seconds; the journal's thread needs ten turns a call, or it falls behind
    gc.freeze()  # what start-up made is never garbage
    # looking for cycles takes a tenth of a call else; answer schemas that are no longer used are found by the last
    gc.set_threshold(50_000, 5, 4)


def introduce(settings: Settings, options: GrowOptions, library: Library, journal: Journal) -> None:
    """Keep what readers want to know later: the prompts' texts, and the name of the profile."""
    journal.add_prompts((file.ref, file.path.read_text(encoding="utf-8")) for file in library.files())
    journal.note("profile", options.profile or settings.profile)
