"""How well code counts markers: precision and recall of prompts/markers.yaml on labelled sentences and worked replies.

    python -m bench.markers              # by marker and in all
    python -m bench.markers --misses     # every sentence that was missed or wrongly counted

tests/agents/markers.yaml says which sentence shows which marker; examples/worked_dialogues.yaml names, reply by reply,
the markers of its school that a careful reader saw, and those not named are taken as absent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agents.markers import Counted
from clinical import Knowledge
from prompts.library import Library

ROOT = Path(__file__).resolve().parents[1]
LABELLED = ROOT / "tests" / "agents" / "markers.yaml"
WORKED = ROOT / "examples" / "worked_dialogues.yaml"


@dataclass
class Tally:
    """One marker, or all."""

    right: int = 0
    missed: int = 0
    wrong: int = 0

    def add(self, *, shown: bool, found: bool) -> None:
        self.right += shown and found
        self.missed += shown and not found
        self.wrong += found and not shown

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else float("nan")

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missed) if self.right + self.missed else float("nan")

    def __str__(self) -> str:
        return f"precision {self.precision:4.2f}  recall {self.recall:4.2f}  of {self.right + self.missed}"


@dataclass(frozen=True)
class Case:
    marker: str
    text: str
    shown: bool


def labelled(half: str) -> list[Case]:
    """The sentences of one half (tuned, near_home), each asked about its own marker alone."""
    return [
        Case(marker, text, kind == "shows")
        for marker, kinds in _labels()[half].items()
        for kind, texts in kinds.items()
        for text in texts
    ]


def unseen(counted: Counted) -> list[Case]:
    """Replies of others; those of no school are asked about the markers of all schools alone."""
    return [
        Case(name, row["text"], name in row["shows"])
        for row in _labels()["unseen"]
        for name, marker in counted.known.items()
        if marker.school in ("", row["school"])
    ]


def _labels() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(LABELLED.read_text(encoding="utf-8"))
    return loaded


def worked(counted: Counted) -> Iterator[Case]:
    """Replies of the worked dialogues, asked about every counted marker of their school and of all schools."""
    for dialogue in yaml.safe_load(WORKED.read_text(encoding="utf-8"))["dialogues"]:
        school = dialogue["plan"]["modality"]["chosen"]
        for turn in dialogue["rounds"]:
            for said in filter(None, (turn, turn.get("rejected"))):
                named = {*said["critic"]["markers"], *said["critic"]["anti"]}
                for name, marker in counted.known.items():
                    if marker.counts_in(school):
                        yield Case(name, _reply(said), name in named)


def _reply(said: Mapping[str, Any]) -> str:
    return str(said["therapist"]["reply"])


def tallies(counted: Counted, cases: list[Case]) -> dict[str, Tally]:
    """By marker, and 'all'; cases of markers that code does not count are left out."""
    found: dict[str, Tally] = {"all": Tally()}
    for case in cases:
        if case.marker in counted.known:
            for name in ("all", case.marker):
                found.setdefault(name, Tally()).add(shown=case.shown, found=case.marker in counted.shown(case.text))
    return found


def parts(counted: Counted) -> dict[str, list[Case]]:
    return {
        "tuned": labelled("tuned"),
        "near_home": labelled("near_home"),
        "unseen": unseen(counted),
        "worked": list(worked(counted)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--misses", action="store_true")
    parser.add_argument("--half", choices=("tuned", "near_home", "unseen", "worked"), help="only this part")
    options = parser.parse_args()
    counted = Counted.of(Library(), Knowledge.load())
    for part, cases in parts(counted).items():
        if options.half not in (None, part):
            continue
        print(f"\n{part}: {sum(case.marker in counted.known for case in cases)} labels")
        for name, tally in tallies(counted, cases).items():
            print(f"  {name:7} {tally}  wrongly {tally.wrong}")
        if options.misses:
            for case in cases:
                if case.marker in counted.known and (case.marker in counted.shown(case.text)) != case.shown:
                    print(f"  {'missed' if case.shown else 'WRONG '} {case.marker:6} {case.text}")


if __name__ == "__main__":
    main()
