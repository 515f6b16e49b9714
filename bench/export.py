"""Measures what an export of many dialogues takes: a synthetic run, written once, exported in a process of its own.

python bench/export.py --dialogues 100000 --format hf
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from prompts.library import Library
from psyllm.journal import Journal
from psyllm.records import Dialogue, Post, Provenance, Reply, Sentence, Status, Turn

VOCABULARY = [f"{a}{b}{c}" for a in ("ba", "ko", "li", "mu", "ne") for b in ("ra", "ti", "so") for c in "abcdefgh"]
ROUNDS, SENTENCES, REASONING, REPLY = 4, 5, 200, 70


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(VOCABULARY, k=count))


def dialogue(number: int, rng: random.Random) -> Dialogue:
    turns = tuple(
        Turn(
            round=round_,
            client=tuple(Sentence(n=round_ * SENTENCES + n, text=words(rng, 12)) for n in range(SENTENCES)),
            reply=Reply(reasoning=words(rng, REASONING), technique="x", text=words(rng, REPLY)),
        )
        for round_ in range(1, ROUNDS + 1)
    )
    provenance = Provenance(
        models={"therapist": "none"}, seed=0, software_version="0", source="bench", license="CC0-1.0"
    )
    return Dialogue(id=f"d{number}", post_id=f"p{number}", status=Status.ACCEPTED, turns=turns, provenance=provenance)


def grow(folder: Path, count: int) -> None:
    rng = random.Random(0)  # noqa: S311
    journal = Journal.open(folder, {}, "0")
    counsellor = Library().roles["counsellor"]
    journal.add_prompts([(counsellor.ref, counsellor.path.read_text(encoding="utf-8"))])
    for number in range(count):
        journal.add_posts([(number, Post(id=f"p{number}", text=words(rng, 150)))])
        journal.finish(dialogue(number, rng))
        if number % 1000 == 0:
            journal.flush()
    journal.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", type=int, default=1000)
    parser.add_argument("--format", default="hf")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grow(folder / "run", arguments.dialogues)
        size = sum(file.stat().st_size for file in (folder / "run").iterdir()) / 2**20
        command = [str(Path(sys.executable).parent / "psyllm"), "export", "run", "--out", "out", "--format"]
        start = time.monotonic()
        subprocess.run([*command, arguments.format], cwd=folder, check=True)
        seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{arguments.dialogues} dialogues, journal {size:.0f} MiB: {seconds:.0f} s, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
