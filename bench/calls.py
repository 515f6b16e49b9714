"""What a call costs in the whole graph, against a bare client that posts the same bodies: python bench/calls.py

Both talk to one rehearsal server (fixed latency, limited slots) in the same run, interleaved, three times. Wall and
CPU are this process alone; the ratio is what counts, not the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from corpus.posts import read_posts
from graphs.grow import Grower
from graphs.table import fingerprint, seated
from prompts.library import Library
from psyllm import __version__
from psyllm.journal import Journal
from psyllm.logs import configure
from psyllm.rehearsal import RehearsalProcess
from psyllm.runs import Run
from psyllm.settings import ModelSettings, Profile, Rules, Settings

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "posts.jsonl"


async def graph(base_url: str, folder: Path, posts: int, slots: int) -> int:
    """Grow dialogues with journal and checks on; returns the number of calls."""
    model = ModelSettings(base_url=base_url, model="rehearsal", sampling={}, concurrency=slots)
    settings = Settings(models={"bench": model}, profiles={"bench": Profile(default="bench")})
    rules, library = Rules(min_rounds=4, max_rounds=4), Library()
    shipped = [post for post in read_posts([EXAMPLES]).posts if len(post.text) > 200]
    many = [shipped[n % len(shipped)].model_copy(update={"id": f"p{n}"}) for n in range(posts)]
    journal = Journal.open(folder, fingerprint(settings, "bench", rules, library), __version__)
    async with seated(settings, "bench", rules, library, journal) as (cast, caller):
        await Grower(cast, caller, journal, many, open_dialogues=2 * slots).run()
    journal.close()
    return caller.meter.calls


async def bare(base_url: str, bodies: list[bytes], slots: int) -> int:
    """Post the bodies and parse the answers, nothing else."""
    gate = asyncio.Semaphore(slots)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(body: bytes) -> None:
            async with gate, session.post(f"{base_url}/chat/completions", data=body, headers=headers) as reply:
                json.loads(await reply.read())

        await asyncio.gather(*map(one, bodies))
    return len(bodies)


def bodies_of(folder: Path) -> list[bytes]:
    """Plain requests with the same messages as a run's calls."""
    with Run(folder) as run:
        return [
            json.dumps(
                {"model": "rehearsal", "messages": [{"role": r, "content": t} for r, t in call.messages]}
            ).encode()
            for dialogue in run.dialogues()
            for call in run.calls(dialogue.id)
        ]


def timed(work: Callable[[], Awaitable[int]]) -> tuple[float, float, int]:
    """(wall s, CPU s, calls)"""

    async def run() -> int:
        return await work()

    wall, cpu = time.perf_counter(), time.process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        calls = runner.run(run())
    return time.perf_counter() - wall, time.process_time() - cpu, calls


def main() -> None:
    configure()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=48)
    parser.add_argument("--latency-ms", type=float, default=400)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    rows: dict[str, list[tuple[float, float, int]]] = {"graph with journal and checks": [], "bare aiohttp": []}
    with (
        tempfile.TemporaryDirectory() as scratch,
        RehearsalProcess(latency_ms=given.latency_ms, slots=given.slots, fault_rate=0) as server,
    ):
        for n in range(given.repeat):
            folder = Path(scratch) / str(n)
            rows["graph with journal and checks"].append(
                timed(lambda: graph(server.base_url, folder, given.posts, given.slots))  # noqa: B023 (used at once)
            )
            bodies = bodies_of(folder)
            rows["bare aiohttp"].append(timed(lambda: bare(server.base_url, bodies, given.slots)))  # noqa: B023
    table = Table("client", "calls", "wall s", "ideal s", "efficiency", "CPU ms/call")
    for name, results in rows.items():
        wall, cpu, calls = (statistics.median(column) for column in zip(*results, strict=True))
        ideal = calls * given.latency_ms / 1000 / given.slots
        table.add_row(
            name, f"{calls:.0f}", f"{wall:.2f}", f"{ideal:.2f}", f"{ideal / wall:.2f}", f"{1000 * cpu / calls:.2f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
