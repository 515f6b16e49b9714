"""The dialogue graph for LangGraph Studio: run `langgraph dev`, then give it {"post": {"id": "1", "text": "..."}}.

It is cast from psyllm.toml here, or from the rehearsal backend, and journals its calls under runs/studio, a folder for
each set of prompts and settings. The cast sits in a thread with an event loop of its own. Studio allows no file or
database access on any event loop: the cast is prepared before its loop starts, and answers are journalled but not
looked up, so that each run of a node is a new call.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import threading
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel

from agents.cast import Asker, Cast, checked_library
from graphs.dialogue import build_graph
from graphs.table import fingerprint, seated
from prompts.library import Library
from psyllm import __version__
from psyllm.journal import Journal
from psyllm.messages import Prompt, Step
from psyllm.reasons import reason_codes
from psyllm.records import Role
from psyllm.rows import Call
from psyllm.settings import Settings, load_settings

FOLDER = Path("runs/studio")
Answered = TypeVar("Answered", bound=BaseModel)
_seating = threading.Lock()


async def graph() -> CompiledStateGraph[Any, Any, Any, Any]:
    """The compiled graph around the one cast of this process."""
    return build_graph(await asyncio.to_thread(_cast))


class Elsewhere:
    """Asks on another thread's event loop."""

    def __init__(self, asker: Asker, loop: asyncio.AbstractEventLoop) -> None:
        self._asker = asker
        self._loop = loop

    async def ask(self, step: Step, prompt: Prompt, schema: type[Answered]) -> tuple[Answered, str]:
        asked = asyncio.run_coroutine_threadsafe(self._asker.ask(step, prompt, schema), self._loop)
        return await asyncio.wrap_future(asked)

    def native(self, role: Role) -> bool:
        return self._asker.native(role)

    def rehearsed(self, dialogue_id: str) -> bool:
        return self._asker.rehearsed(dialogue_id)


class WriteOnlyJournal(Journal):
    def find(self, key: bytes) -> None:
        """Never: see above."""
        return

    def record(self, call: Call, position: int | None) -> None:
        """Every call is a new one, also of the same node on the same words."""
        super().record(replace(call, key=secrets.token_bytes(32)), position)


def _cast() -> Cast:
    with _seating:
        return _seated_once()


@cache
def _seated_once() -> Cast:
    settings = load_settings()
    library = checked_library(settings.prompts)
    facts = fingerprint(settings, None, settings.rules, library)
    own = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
    journal = WriteOnlyJournal.open(FOLDER / own, facts, __version__)
    reason_codes()
    ready: Future[Cast] = Future()
    sitting = _sit(ready, settings, library, journal)
    threading.Thread(target=asyncio.run, args=(sitting,), name="cast", daemon=True).start()
    return ready.result()


async def _sit(ready: Future[Cast], settings: Settings, library: Library, journal: Journal) -> None:
    """Hand out the cast, and stay until the process ends."""
    try:
        async with seated(settings, None, settings.rules, library, journal) as (cast, caller):
            ready.set_result(replace(cast, asker=Elsewhere(caller, asyncio.get_running_loop())))
            await asyncio.Event().wait()
    except BaseException as error:
        if not ready.done():
            ready.set_exception(error)
        raise
