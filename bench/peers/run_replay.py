"""Bare aiohttp sends the very bytes that psyllm sent: each dialogue's calls in their order, later rounds first.

Nothing is built, checked, stored or traced; the JSON of a reply is parsed. What psyllm could reach at best.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import uvloop
from common import Clock

from psyllm.gate import Gate

Chain = list[tuple[int, bytes]]
parser = argparse.ArgumentParser()
parser.add_argument("--base-url", required=True)
parser.add_argument("--chains", type=Path, required=True, help="pickled: a list of (round, request bytes) a dialogue")
parser.add_argument("--posts-used", type=int, help="those of the first so many posts")
parser.add_argument("--concurrency", type=int, required=True)
given = parser.parse_args()


async def replay(chains: list[Chain]) -> None:
    gate, waiting = Gate(given.concurrency), iter(chains)
    url, headers = f"{given.base_url}/chat/completions", {"Content-Type": "application/json"}

    async def dialogues(waiting: Iterator[Chain]) -> None:
        for chain in waiting:
            for depth, body in chain:
                async with gate.place(depth), session.post(url, data=body, headers=headers) as reply:
                    json.loads(await reply.read())
        gate.drain()

    with Clock() as clock:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(dialogues(waiting) for _ in range(2 * given.concurrency)))
    clock.tell(len(chains), chain=max(map(len, chains)))


recorded: list[Chain] = pickle.loads(given.chains.read_bytes())  # noqa: S301 (our own file)
uvloop.run(replay(recorded[: given.posts_used]))
