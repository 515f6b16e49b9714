"""Whether a call costs more in a large run: python bench/size.py --sizes 1000 10000 100000 --dialogues 1000

Grows some dialogues, then fills the run's database with copies of all its rows under other ids until it holds so many
dialogues, and grows further ones on each. Their CPU is this process alone; the ratio to the smallest is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from corpus.posts import read_posts
from graphs.grow import Grower
from graphs.table import fingerprint, seated
from prompts.library import Library
from psyllm import __version__
from psyllm.journal import DATABASE, Journal, connect
from psyllm.logs import configure
from psyllm.rehearsal import RehearsalProcess
from psyllm.settings import ModelSettings, Profile, Rules, Settings

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "posts.jsonl"
SLOTS = 64


async def grow(base_url: str, folder: Path, first: int, count: int) -> tuple[int, float, float]:
    """Grow dialogues of posts that the run has not seen; (calls, CPU s, wall s) from the first call to the last."""
    model = ModelSettings(base_url=base_url, model="rehearsal", sampling={}, concurrency=SLOTS)
    settings = Settings(models={"bench": model}, profiles={"bench": Profile(default="bench")})
    rules, library = Rules(min_rounds=3, max_rounds=3), Library()
    shipped = [post for post in read_posts([EXAMPLES]).posts if len(post.text) > 200]
    posts = [shipped[n % len(shipped)].model_copy(update={"id": f"p{n}"}) for n in range(first, first + count)]
    journal = Journal.open(folder, fingerprint(settings, "bench", rules, library), __version__)
    async with seated(settings, "bench", rules, library, journal) as (cast, caller):
        journal.add_posts(enumerate(posts, first))
        grower = Grower(cast, caller, journal, posts, open_dialogues=2 * SLOTS, total=count)
        cpu, wall = time.process_time(), time.perf_counter()
        await grower.run()
        journal.flush()
        spent = caller.meter.calls, time.process_time() - cpu, time.perf_counter() - wall
    journal.close()
    return spent


def fill(path: Path, dialogues: int) -> None:
    """Copy every row under other ids until the database holds so many dialogues; texts that differ differ here too."""
    with closing(connect(path, wal=False)) as db:
        (have,) = db.execute("SELECT count(*) FROM dialogues").fetchone()
        (texts,) = db.execute("SELECT max(id) FROM texts").fetchone()
        (calls,) = db.execute("SELECT max(id) FROM calls").fetchone()
        names = [row[1] for row in db.execute("PRAGMA table_info(calls)")]
        own = {"id": "id + :n * :calls", "key": "randomblob(32)", "post_id": "post_id || '-' || :n"}
        columns = ", ".join(own.get(name, name) for name in names)
        db.execute("PRAGMA journal_mode=OFF")
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA cache_size=-1000000")  # 1 GB: the new keys come in no order
        for n in range(1, -(-dialogues // have)):
            values = {"n": n, "texts": texts, "calls": calls}
            db.execute("BEGIN")
            db.execute(
                "INSERT INTO texts SELECT id + :n * :texts, randomblob(32), body FROM texts WHERE id <= :texts", values
            )
            db.execute(f"INSERT INTO calls SELECT {columns} FROM calls WHERE id <= :calls", values)  # noqa: S608 (own names)
            db.execute(
                "INSERT INTO steps SELECT dialogue_id || '-' || :n, position, call_id + :n * :calls FROM steps"
                " WHERE call_id <= :calls",
                values,
            )
            db.execute(
                "INSERT INTO dialogues SELECT id || '-' || :n, post_id || '-' || :n, repeat, status, modality, drawn,"
                " severity, mode, rounds, safety_rounds, rehearsal, forked_from, ended, record_id + :n * :texts"
                " FROM dialogues WHERE record_id <= :texts",
                values,
            )
            db.execute(
                "INSERT INTO posts SELECT id || '-' || :n, position, origin, record_id + :n * :texts FROM posts"
                " WHERE record_id <= :texts",
                values,
            )
            db.execute("COMMIT")


def main() -> None:
    configure()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--dialogues", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    table = Table("dialogues before", "database MB", "calls", "CPU ms/call", "wall ms/call", "CPU, ratio")
    with tempfile.TemporaryDirectory() as scratch, RehearsalProcess(slots=SLOTS, fault_rate=0) as server:

        def run(folder: Path, first: int, count: int) -> tuple[int, float, float]:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(grow(server.base_url, folder, first, count))

        seed = Path(scratch) / "seed"
        run(seed, 0, 100)
        folders = []
        for size in given.sizes:
            folder = Path(scratch) / str(size)
            shutil.copytree(seed, folder)
            fill(folder / DATABASE, size)
            folders.append(folder)
        results: list[list[tuple[int, float, float]]] = [[] for _ in folders]
        for n in range(given.repeat):
            for folder, found in zip(folders, results, strict=True):
                found.append(run(folder, 100_000 + n * given.dialogues, given.dialogues))
        base = 0.0
        for size, folder, found in zip(given.sizes, folders, results, strict=True):
            cpu, wall = (statistics.median(1000 * row[k] / row[0] for row in found) for k in (1, 2))
            base = base or cpu
            mb = (folder / DATABASE).stat().st_size / 1e6
            row = (str(size), f"{mb:.0f}", str(found[0][0]), f"{cpu:.2f}", f"{wall:.2f}", f"{cpu / base:.2f}")
            table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
