"""How quick a large run is to list, filter and search, against a plain scan of its journal: python bench/traces.py

Makes a synthetic run of 10,000 dialogues and 200,000 calls once (--run keeps it), in words as frequent as in example
posts. Every figure is the median of seven, in this process, with `refresh` included.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from corpus.posts import read_posts
from psyllm.journal import Journal
from psyllm.messages import Message, Step
from psyllm.records import (
    CasePlan,
    ClientProfile,
    Dialogue,
    Emotion,
    ModalityChoice,
    Post,
    PromptRef,
    Provenance,
    Reason,
    Reply,
    Role,
    RoundPlan,
    Scene,
    Sentence,
    Status,
    Turn,
)
from psyllm.rows import Call, Usage
from psyllm.runs import Run
from psyllm.runs.find import Filter, count, find, reason_counts, search
from psyllm.runs.index import Index

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "posts.jsonl"
MODALITIES = ("cbt", "act", "dbt", "mi", "psychodynamic", "person_centred")
CODES: tuple[tuple[str, Role], ...] = (
    ("empty_reassurance", "therapist"),
    ("template_trace", "therapist"),
    ("too_articulate", "patient"),
    ("profile_is_diagnosis", "planner"),
)
NODES: tuple[tuple[str, Role], ...] = (
    ("patient", "patient"),
    ("hear", "critic"),
    ("diagnose", "diagnostician"),
    ("respond", "therapist"),
)
ROUNDS = 5
"""Rounds of four calls: twenty calls a dialogue."""


class Words:
    """Sentences in words that are as frequent as in the example posts, and now and then a rare one."""

    def __init__(self) -> None:
        self._draw = random.Random(7)  # noqa: S311
        self._spoken = " ".join(post.text for post in read_posts([EXAMPLES]).posts).split()

    def text(self, words: int) -> str:
        drawn = self._draw.choices(self._spoken, k=words)
        drawn[self._draw.randrange(words)] = f"rare{self._draw.randrange(20_000)}"
        return " ".join(drawn)

    def one_of(self, options: tuple[str, ...]) -> str:
        return self._draw.choice(options)

    def chance(self, share: float) -> bool:
        return self._draw.random() < share


def write(folder: Path, dialogues: int) -> None:
    """The run, through the same journal as a real one."""
    words, journal = Words(), Journal.open(folder, {"grow.seed": 0}, "bench")
    for n in range(dialogues):
        _dialogue(journal, words, n)
        if n % 200 == 0:
            journal.flush()
    journal.close()


def _dialogue(journal: Journal, words: Words, n: int) -> None:
    name, post = f"{n * 7919 % 2**32:08x}{n:08x}", Post(id=f"p{n}", text=words.text(120))
    journal.add_posts([(n, post)])
    modality, version = words.one_of(MODALITIES), words.one_of(("1.0", "1.1"))
    transcript: list[str] = []
    turns: list[Turn] = []
    position = 0
    for number in range(1, ROUNDS + 1):
        said = {}
        for node, role in NODES:
            said[node] = words.text(60 if node == "respond" else 35)
            ref = PromptRef(id=role, version="1.0", sha256="0" * 12)
            school = PromptRef(id=modality, version=version, sha256=f"{version[-1]}" * 12)
            call = Call(
                key=position.to_bytes(8, "big") + n.to_bytes(24, "big"),
                step=Step(dialogue_id=name, post_id=post.id, repeat=0, round=number, node=node, attempt=0),
                correction=0,
                sample=0,
                role=role,
                model_name="m",
                model=words.one_of(("model-a", "model-b")),
                endpoint="http://127.0.0.1/v1",
                prompts=(ref, school) if role == "therapist" else (ref,),
                schema_name=node,
                schema_sha256="0" * 64,
                sampling={},
                messages=(Message("system", (f"You are the {role}.",)), Message("user", (*transcript, "Go on."))),
                reply=json.dumps({"text": said[node]}),
                parsed=json.dumps({"text": said[node]}),
                finish_reason="stop",
                usage=Usage(prompt=900, cached=600, completion=90),
                cost_usd=0.001,
                started=1.7e9 + n,
                seconds=0.8,
            )
            journal.record(call, position)
            position += 1
        transcript += [said["patient"], said["respond"]]
        reply = Reply(reasoning=said["diagnose"], technique="listening", text=said["respond"])
        turns.append(Turn(round=number, client=(Sentence(n=number, text=said["patient"]),), reply=reply))
    rejected = words.chance(0.2)
    code, blamed = CODES[n % len(CODES)]
    journal.finish(
        Dialogue(
            id=name,
            post_id=post.id,
            status=Status.REJECTED if rejected else Status.ACCEPTED,
            reasons=(Reason(code=code, role=blamed, round=2),) if rejected and blamed != "critic" else (),  # type: ignore[arg-type]
            plan=_plan(modality),
            turns=tuple(turns),
            provenance=Provenance(models={}, seed=0, software_version="0", source="bench", license="CC0-1.0"),
        )
    )


def _plan(modality: str) -> CasePlan:
    few = ("something",)
    return CasePlan(
        emotion=Emotion(primary="fear", intensity=4),
        presenting_problem="p",
        scene=Scene(category="work", detail="d"),
        severity="mild",
        rounds=(RoundPlan(focus="f"),),
        modality=ModalityChoice(chosen=modality, reasons=few),
        profile=ClientProfile(
            history="h",
            memories=few,
            core_beliefs=few,
            automatic_thoughts=few,
            coping=few,
            disclosure="d",
            resistance="r",
            builds_trust="b",
            safety="s",
        ),
    )


def timed(work: Callable[[], int], times: int = 7) -> tuple[float, int]:
    """(median ms, what the work counted)"""
    took, counted = [], 0
    for _ in range(times):
        since = time.perf_counter()
        counted = work()
        took.append(1000 * (time.perf_counter() - since))
    return statistics.median(took), counted


def scan_dialogues(run: Run) -> int:
    """Rejected dialogues that blame the therapist, as one would find them without an index."""
    return sum(
        dialogue.status is Status.REJECTED and any(reason.role == "therapist" for reason in dialogue.reasons)
        for dialogue in run.dialogues()
    )


def scan_words(run: Run, word: str) -> int:
    """Calls whose reply holds a word, as one would find them without an index."""
    return sum(word in call.reply for dialogue in run.dialogues() for call in run.calls(dialogue.id))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogues", type=int, default=10_000)
    parser.add_argument("--run", type=Path, help="keep the run here, and take it if it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.run or Path(scratch) / "run"
        if not (folder / "journal-0.db").exists():
            write(folder, given.dialogues)
        report(folder)


def report(folder: Path) -> None:
    for file in folder.glob("index.db*"):
        file.unlink()
    table = Table("what", "ms", "found", title_justify="left")
    with Run(folder) as run, Index(run) as index:

        def asked(name: str, work: Callable[[], int]) -> None:
            def with_refresh() -> int:
                with Run(folder) as fresh, Index(fresh) as own:
                    own.refresh(words=True)
                return work()

            took, found = timed(with_refresh)
            table.add_row(name, f"{took:.0f}", str(found))

        first, _ = timed(lambda: index.refresh() or 0, 1)
        words, _ = timed(lambda: index.refresh(words=True) or 0, 1)
        table.add_row("index built for lists, once", f"{first:.0f}", "")
        table.add_row("index built for words, once", f"{words:.0f}", "")
        blamed = Filter(status="rejected", role="therapist")
        asked("list, first 100", lambda: len(find(index, limit=100)))
        asked("list, all", lambda: len(find(index)))
        asked("list: rejected, therapist to blame", lambda: count(index, blamed) and len(find(index, blamed)))
        asked("list: prompt cbt@1.1", lambda: len(find(index, Filter(prompt="cbt@1.1"))))
        asked("list: model-a and a frequent word", lambda: count(index, Filter(model="model-a", words="night")))
        asked("reasons by modality and prompt", lambda: len(reason_counts(index)))
        for name, pattern, role in (
            ("a rare word", "rare77", ""),
            ("a frequent word", "the", ""),
            ("a frequent word, one role", "the", "therapist"),
            ("two words", "night kettle", ""),
            ("a phrase", '"in the kitchen"', ""),
            ("a beginning", "kitch*", ""),
        ):
            asked(f"search: {name}", lambda p=pattern, r=role: len(search(index, p, role=r)))  # type: ignore[misc]
        table.add_section()
        took, found = timed(lambda: scan_dialogues(run), 1)
        table.add_row("without index: rejected, therapist to blame", f"{took:.0f}", str(found))
        took, found = timed(lambda: scan_words(run, "rare77 "), 1)
        table.add_row("without index: a rare word", f"{took:.0f}", str(found))
    Console().print(table)
    sizes = {file.name: file.stat().st_size / 1e6 for file in sorted(folder.glob("*.db"))}
    Console().print(", ".join(f"{name} {size:.0f} MB" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
