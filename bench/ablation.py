"""Our graph with and without each agent, under faults planted on purpose: python bench/ablation.py --seeds 3

Grows the example posts on a rehearsal server that spoils a share of its answers and logs which, once a variant of the
graph, and prints one line each: planted, caught, repaired, wrongly accused. It tests the plumbing, not counselling:
rehearsed words are stand-ins, the faults are crude, and an agent that is left out plants none.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from agents.cast import Cast
from bench.faults import Step, accused, fate_of, grow, steps_of, table
from evaluators.files import HERE
from graphs.team import without
from prompts.library import Library
from psyllm.logs import configure
from psyllm.records import Status
from psyllm.rehearsal import RehearsalProcess
from psyllm.settings import Rules

VARIANTS: Mapping[str, Callable[[Cast], Cast]] = {
    "whole graph": lambda cast: cast,
    "without diagnostician": partial(without, role="diagnostician"),
    "without modality": lambda cast: cast,
    "without critic": partial(without, role="critic"),
}
HEAD = ("graph", "dialogues", "accepted", "answers", "planted", "caught", "repaired", "missed", "wrongly accused")


def grown(variant: str, seed: int, fault_rate: float) -> list[Step]:
    """Every answer of one run of this variant."""
    bare = variant == "without modality"
    rules = Rules(seed=seed, modalities=("no_modality",) if bare else ())
    library = Library(HERE / "team") if bare else None
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch) / "run", Path(scratch) / "server.jsonl"
        with RehearsalProcess(seed=seed, fault_rate=fault_rate, log=log) as server:
            asyncio.run(grow(server.base_url, folder, rules, library, VARIANTS[variant]))
        return list(steps_of(folder, log))


def row(variant: str, runs: Sequence[Sequence[Step]]) -> tuple[object, ...]:
    """One line of the table, over the runs of all seeds. An accusation counts where nothing was planted."""
    steps = [step for run in runs for step in run]
    fates = []
    for run in runs:
        answered = {(step.dialogue.id, step.place) for step in run if step.call.parsed is not None}
        fates += [fate_of(step, (step.dialogue.id, step.place) in answered) for step in run if step.fault]
    caught = [fate for fate in fates if fate.by]
    dialogues = [dialogue for run in runs for dialogue in {s.dialogue.id: s.dialogue for s in run}.values()]
    return (
        variant,
        len(dialogues),
        sum(dialogue.status is Status.ACCEPTED for dialogue in dialogues),
        len(steps),
        len(fates),
        len(caught),
        sum(fate.went_on for fate in caught),
        sum(not fate.by and not fate.otherwise for fate in fates),
        sum(1 for run in runs for _ in accused(run)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fault-rate", type=float, default=0.25)
    given = parser.parse_args()
    configure()
    rows = [row(name, [grown(name, seed, given.fault_rate) for seed in range(given.seeds)]) for name in VARIANTS]
    print(table(HEAD, rows))


if __name__ == "__main__":
    main()
