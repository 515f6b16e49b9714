"""Whether a long run stays in flat memory: python bench/memory.py --posts 100000 --minutes 5

Runs `psyllm grow` with the rehearsal backend on so many posts, ends it after so many minutes, and looks at the
resident memory of its process (the server, a process of its own, not counted) ten times on the way.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from corpus.posts import read_posts
from psyllm.journal import DATABASE
from psyllm.runs import Run

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "posts.jsonl"


def resident_mb(process: int) -> float:
    """Linux only."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def many(file: Path, count: int) -> None:
    """A JSONL of so many posts: the shipped ones, each with a number of its own in its text."""
    texts = [post.text for post in read_posts([EXAMPLES]).posts if len(post.text) > 200]
    with file.open("w", encoding="utf-8") as out:
        for n in range(count):
            out.write(json.dumps({"id": f"p{n}", "text": f"{texts[n % len(texts)]} That was {n} days ago."}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=5)
    given = parser.parse_args()
    table = Table("minutes", "dialogues", "MB now", "MB at most")
    with tempfile.TemporaryDirectory() as scratch:
        folder, run = Path(scratch), Path(scratch) / "run"
        many(folder / "posts.jsonl", given.posts)
        command = [Path(sys.executable).parent / "psyllm", "grow", folder / "posts.jsonl", "--run", run]
        begun = time.monotonic()
        process = subprocess.Popen(
            [*command, "--max-hours", str(given.minutes / 60)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        most = 0.0
        for look in range(1, 11):
            while time.monotonic() - begun < 60 * given.minutes * look / 10:
                most = max(most, resident_mb(process.pid))
                time.sleep(0.2)
            done = 0
            if (run / DATABASE).exists():
                with Run(run) as held:
                    done = sum(held.status_counts().values())
            now = resident_mb(process.pid)
            table.add_row(f"{given.minutes * look / 10:.1f}", str(done), f"{now:.0f}", f"{max(most, now):.0f}")
        process.wait()
    Console().print(table)


if __name__ == "__main__":
    main()
