"""psyllm itself: the whole of `psyllm grow` after its imports, with graph, clinical checks, journal and traces."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from common import Clock

import graphs.dialogue
import graphs.grow
import graphs.table  # noqa: F401 (imported before the clock starts, as the peers' packages are)
from app.grow import GrowOptions, grow
from psyllm.journal import connect, shard_numbers
from psyllm.runs import Run

parser = argparse.ArgumentParser()
parser.add_argument("--base-url", required=True)
parser.add_argument("--posts", type=Path, required=True)
parser.add_argument("--run", type=Path, required=True)
parser.add_argument("--posts-used", type=int, help="the first so many")
parser.add_argument("--concurrency", type=int, required=True)
parser.add_argument("--workers", type=int, default=1)
given = parser.parse_args()

settings = given.run.with_suffix(".toml")
settings.write_text(
    f'[models.mock]\nbase_url = "{given.base_url}"\nmodel = "rehearsal"\nsampling = {{}}\n'
    '[profiles.bench]\ndefault = "mock"\n',
    encoding="utf-8",
)
options = GrowOptions(
    posts=[given.posts],
    run=given.run,
    limit=given.posts_used,
    profile="bench",
    rounds="4",
    concurrency=given.concurrency,
    settings=settings,
    workers=given.workers,
)
with Clock() as clock:
    code = grow(options)

LONGEST = "SELECT max(n) FROM (SELECT count(*) AS n FROM steps GROUP BY dialogue_id)"
chain = 0
for file in sorted(given.run.glob("journal-*.db")):
    with closing(connect(file, read_only=True)) as db:
        chain = max(chain, db.execute(LONGEST).fetchone()[0] or 0)
with Run(given.run) as run:
    ended = [(dialogue.status, len(dialogue.turns)) for dialogue in run.dialogues()]
clock.tell(
    len(ended),
    code=code,
    chain=chain,
    accepted=sum(status == "accepted" for status, _ in ended),
    four_rounds=sum(rounds == 4 for _, rounds in ended),
    databases=len(shard_numbers(given.run)),
)
