"""psyllm's calls, made once at no latency: the answers that the server then gives from a table, and what was asked.

The dialogues of a measurement are these, call for call: the same posts, seed and answers make the same requests.
"""

from __future__ import annotations

import json
import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

from bench.peers.common import STEPS, messages
from bench.throughput.server import asked, plain_reply
from corpus.posts import read_posts
from corpus.screen import screen
from psyllm.errors import Failure
from psyllm.runs import Run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "posts.jsonl"


def write_posts(file: Path, count: int) -> None:
    """So many posts: the shipped ones that no screen holds back, over and over under other ids.

    A call's seed comes from its post's id, and goes into the request: dialogues of one text differ all the same.
    """
    posts = [post for post in read_posts([EXAMPLES]).posts if len(post.text) > 200 and not screen(post)]
    with file.open("w", encoding="utf-8") as lines:
        for number, post in enumerate(islice(cycle(posts), count)):
            lines.write(json.dumps({"id": f"p{number:05}", "text": post.text}) + "\n")


def chains(run: Path, answers: Path) -> list[list[tuple[int, bytes]]]:
    """The calls of each dialogue in their order: round, and request as it was sent."""
    with closing(sqlite3.connect(answers)) as db:
        requests: dict[bytes, bytes] = dict(db.execute("SELECT asked, request FROM answers"))
    with Run(run) as opened:
        return [list(_requests(opened, dialogue.id, requests)) for dialogue in opened.dialogues()]


def _requests(run: Run, dialogue_id: str, requests: dict[bytes, bytes]) -> Iterator[tuple[int, bytes]]:
    for call in run.calls(dialogue_id):
        request = requests.get(asked(call.messages, call.sampling.get("seed")))
        if request is None:
            raise Failure("store", f"the request of {dialogue_id} at {call.path} was not seen by the server")
        yield call.round, request


def four_rounds(run: Path) -> list[int]:
    """At how many posts the first, second, third ... dialogue of four rounds is among them."""
    with Run(run) as opened:
        return [grown for grown, dialogue in enumerate(opened.dialogues(), 1) if len(dialogue.turns) == 4]


def write_chains(file: Path, run: Path, answers: Path) -> None:
    with file.open("wb") as out:
        pickle.dump(chains(run, answers), out)


def system_bytes(request_bytes: float, reply_bytes: float) -> int:
    """How long the peers' system messages must be for their requests to be so long in the mean."""
    reply = json.loads(plain_reply(round(reply_bytes)))["choices"][0]["message"]["content"]
    state = dict.fromkeys(STEPS, reply) | {"item": "0" * 8}
    bare = [len(json.dumps({"model": "mock", "messages": messages(step, state, 0)})) for step in STEPS]
    heads = [len(messages(step, state, 0)[0]["content"]) for step in STEPS]
    return round(request_bytes - (sum(bare) - sum(heads)) / len(STEPS))
