"""Which call goes first where there are fewer places than dialogues."""

from __future__ import annotations

from pathlib import Path

import pytest

from psyllm.rehearsal import RehearsalProcess
from psyllm.runs import Run
from psyllm.settings import Rules
from tests.graphs.conftest import POST, grow, served

TWO_ROUNDS = Rules(min_rounds=2, max_rounds=2)


@pytest.mark.parametrize(("waiting", "together"), [(0, True), (3, False)])
async def test_dialogues_end_together_once_no_post_waits(tmp_path: Path, waiting: int, together: bool) -> None:
    """With posts waiting, the first to end leaves the others behind; the last ones go round by round."""
    posts = [POST.model_copy(update={"id": f"p{n}"}) for n in range(3 + waiting)]
    with RehearsalProcess() as server:
        grown = await grow(tmp_path / "run", served(server.base_url, concurrency=1), TWO_ROUNDS, posts, 3)
    with Run(tmp_path / "run") as run:
        calls = sorted((call.started, call.round) for dialogue in grown for call in run.calls(dialogue.id))
    rounds = [number for _, number in calls]
    assert (rounds == sorted(rounds)) is together
