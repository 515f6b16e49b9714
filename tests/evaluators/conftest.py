"""A table with one scripted or rehearsed model, and talks to judge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evaluators.records import Talk
from evaluators.table import Table, laid
from prompts.library import Library
from psyllm import __version__
from psyllm.journal import Journal
from psyllm.records import Reply, Risk, Sentence, Turn
from psyllm.settings import ModelSettings, Settings
from tests.app.conftest import Desk, desk_in


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_in(tmp_path)


CLIENT = "I have kept the shop going since Dad died. Yesterday I put the closing sign up and my hand shook."
REPLY = "You kept it going after him, and yesterday it was your own hand on the sign."


def talk_of(*exchanges: tuple[str, str], counsellor: str = "m:plain", level: int = 0, given: int = 0) -> Talk:
    """A talk of these exchanges; `level` is the suicide risk of every turn."""
    turns = []
    for number, (client, reply) in enumerate(exchanges or ((CLIENT, REPLY),), 1):
        risk = Risk(domain="suicide", level=level, mode="ordinary" if level == 0 else "explore")
        said = Reply(reasoning="", technique="", text=reply)
        words = (Sentence(n=number, text=client),)
        turns.append(Turn(round=number, client=words, risks=(risk,), mode=risk.mode, reply=said))
    own = f"{counsellor}-{len(turns)}-{level}"
    return Talk(
        id=own, kind="interactive", counsellor=counsellor, client="c1", post_id="c1", turns=tuple(turns), given=given
    )


def served(base_url: str, model: str = "m-1") -> ModelSettings:
    return ModelSettings(base_url=base_url, model=model, tries=1, sampling={})


@asynccontextmanager
async def laid_with(folder: Path, models: Mapping[str, ModelSettings]) -> AsyncIterator[Table]:
    """A table and the journal under it."""
    journal = Journal.open(folder, {"eval": "test"}, __version__)
    try:
        async with laid(Settings(models=dict(models)), list(models), journal, Library(), 0, None) as table:
            yield table
    finally:
        journal.close()
