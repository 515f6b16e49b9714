"""How much of the prompts a real server has in its prefix cache: python bench/prefix_cache.py

Grows a few dialogues by rehearsal, then sends the very messages of their calls, in the order made, to the embedded
model (one token of answer each) and reads the server's own count of cached prompt tokens. The reference, in the same
run, is the same text in the order that comes naturally: the turn's task and its data first, what stays the same last.

Any other server that counts them does too; vLLM must be told to (`vllm serve ... --enable-prompt-tokens-details`):

    python bench/prefix_cache.py --endpoint http://127.0.0.1:8000/v1 --model smollm2
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from corpus.posts import read_posts
from graphs.grow import Grower
from graphs.table import fingerprint, seated
from prompts.library import Library
from psyllm import __version__
from psyllm.journal import Journal
from psyllm.logs import configure
from psyllm.records import Status
from psyllm.runs import Run, StoredCall
from psyllm.servers import embedded
from psyllm.settings import Rules, Settings

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "posts.jsonl"
SLOTS = 8
"""One for each of the seven prompts of a round, and one to spare."""
CONTEXT = 8192


async def grown(folder: Path, dialogues: int) -> list[list[StoredCall]]:
    """The calls of accepted rehearsal dialogues of three rounds."""
    settings, library = Settings(), Library()
    rules = Rules(min_rounds=3, max_rounds=3)
    posts = [post for post in read_posts([EXAMPLES]).posts if len(post.text) > 200]
    journal = Journal.open(folder, fingerprint(settings, None, rules, library), __version__)
    async with seated(settings, None, rules, library, journal) as (cast, caller):
        await Grower(cast, caller, journal, posts, open_dialogues=4).run()
    journal.close()
    with Run(folder) as run:
        return [list(run.calls(d.id)) for d in run.dialogues(Status.ACCEPTED)][:dialogues]


def naive(call: StoredCall) -> list[dict[str, str]]:
    """The parts of a call's messages in reverse: task, data, transcript, and the role at the end."""
    parts = [part for _, text in reversed(call.messages) for part in reversed(text.split("\n\n"))]
    return [{"role": "user", "content": "\n\n".join(parts)}]


def ordered(call: StoredCall) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in call.messages]


async def cached(
    dialogues: list[list[StoredCall]], *, ours: bool, endpoint: str | None = None, model: str = ""
) -> dict[tuple[str, bool], tuple[int, int]]:
    """(role, after round 1) -> prompt tokens, cached ones, by the server's own count; without an endpoint, embedded."""
    sums: dict[tuple[str, bool], list[int]] = defaultdict(lambda: [0, 0])
    with nullcontext(endpoint) if endpoint else embedded(SLOTS, CONTEXT) as base_url:
        async with aiohttp.ClientSession() as session:
            for calls in dialogues:
                for call in calls:
                    body = {"messages": ordered(call) if ours else naive(call), "max_tokens": 1, "temperature": 0}
                    body |= {"model": model} if model else {}
                    async with session.post(f"{base_url}/chat/completions", json=body) as reply:
                        usage = (await reply.json())["usage"]
                    total = sums[call.role, int(call.path.split("/")[0]) > 1]
                    total[0] += usage["prompt_tokens"]
                    total[1] += (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {key: (prompt, hit) for key, (prompt, hit) in sums.items()}


def share(sums: dict[tuple[str, bool], tuple[int, int]], role: str | None, later: bool | None) -> str:
    rows = [v for (of, after), v in sums.items() if role in (None, of) and later in (None, after)]
    prompt, hit = (sum(column) for column in zip(*rows, strict=True)) if rows else (0, 0)
    return f"{hit / prompt:.0%} of {prompt:,}" if prompt else "-"


def main() -> None:
    configure()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogues", type=int, default=1)
    parser.add_argument("--endpoint", help="base URL, ending in /v1; default: the embedded model")
    parser.add_argument("--model", default="", help="as the endpoint knows it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dialogues = asyncio.run(grown(Path(folder) / "run", options.dialogues))
    ours, theirs = (
        asyncio.run(cached(dialogues, ours=which, endpoint=options.endpoint, model=options.model))
        for which in (True, False)
    )
    where = options.endpoint or "the embedded model"
    table = Table(title=f"cached prompt tokens, {len(dialogues)} dialogues of 3 rounds, by {where}", box=None)
    for heading in ("role", "round 1", "later rounds", "all", "all, naive order"):
        table.add_column(heading, justify="left" if heading == "role" else "right")
    for role in [*sorted({role for role, _ in ours}), None]:
        table.add_row(
            role or "all",
            share(ours, role, False),
            share(ours, role, True),
            share(ours, role, None),
            share(theirs, role, None),
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
