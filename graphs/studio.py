"""The dialogue graph for LangGraph Studio: run `langgraph dev`, then give it {"post": {"id": "1", "text": "..."}}.

It is cast from psyllm.toml here, or from the rehearsal backend; its calls are journalled in runs/studio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langgraph.graph.state import CompiledStateGraph

from graphs.dialogue import build_graph
from graphs.table import fingerprint, seated
from prompts.library import Library
from psyllm import __version__
from psyllm.journal import Journal
from psyllm.settings import load_settings

FOLDER = Path("runs/studio")


@asynccontextmanager
async def graph() -> AsyncIterator[CompiledStateGraph[Any, Any, Any, Any]]:
    """The compiled graph around a seated cast, for as long as Studio uses it."""
    settings = load_settings()
    library = Library(settings.prompts)
    facts = fingerprint(settings, None, settings.grow, library)
    journal = Journal.open(FOLDER, facts, __version__)
    try:
        async with seated(settings, None, settings.grow, library, journal) as (cast, _):
            yield build_graph(cast)
    finally:
        journal.close()
