"""Every shipped modality, linted by the loader, goes through the whole graph to an accepted dialogue on rehearsal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from corpus.posts import read_posts
from graphs.grow import Grower
from prompts.library import SHIPPED, Library
from psyllm.records import Dialogue, Status
from psyllm.servers import serving
from psyllm.settings import BUILT_IN_MODELS, Rules
from tests.conftest import EXAMPLES
from tests.graphs.conftest import served, table

MODALITIES = sorted(path.stem for path in (SHIPPED / "modalities").glob("*.md"))
POSTS = ("ex-01-night-shift-warehouse", "ex-02-mums-voicemail", "ex-03-tram-panic", "ex-04-the-spare-room")


async def _grow(folder: Path) -> dict[str, list[Dialogue]]:
    posts = [post for post in read_posts([EXAMPLES / "posts.jsonl"]).posts if post.id in POSTS]
    grown: dict[str, list[Dialogue]] = {name: [] for name in MODALITIES}
    async with serving(BUILT_IN_MODELS["rehearsal"], rehearsal_latency_ms=0, slots=8) as (base_url,):
        for name in MODALITIES:
            rules = Rules(modalities=(name,), max_rounds=2)
            async with table(folder / name, served(base_url, send_seed=True), rules, Library()) as (
                cast,
                caller,
                journal,
            ):
                keep = grown[name].append
                await Grower(cast, caller, journal, posts, open_dialogues=4, on_dialogue=keep).run()
    return grown


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Dialogue]]:
    return asyncio.run(_grow(tmp_path_factory.mktemp("graph")))


@pytest.mark.parametrize("name", MODALITIES)
def test_a_shipped_modality_reaches_an_accepted_dialogue(grown: dict[str, list[Dialogue]], name: str) -> None:
    accepted = [dialogue for dialogue in grown[name] if dialogue.status is Status.ACCEPTED]
    assert accepted, [(d.status, d.reasons) for d in grown[name]]
    modality = Library().modality(name)
    for dialogue in accepted:
        assert modality.ref in dialogue.provenance.prompts
        assert len(dialogue.turns) == 2
        used = {reply.technique for reply in dialogue.replies()}
        assert used <= {*modality.techniques, "safety_protocol"}
        marked = {marker for turn in dialogue.turns if turn.critique for marker in turn.critique.markers}
        assert marked <= {marker.id for marker in modality.matter.fidelity}
    assert {reply.technique for d in accepted for reply in d.replies()} & set(modality.techniques)
