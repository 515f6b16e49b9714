"""What becomes of faults that are planted on purpose: python bench/faults.py --seeds 6 --fault-rate 0.25

Grows the example posts once a seed on a rehearsal server that spoils that share of its answers and logs which, joins
the log with the journal, and prints two tables: what became of every fault, and what was accused where nothing was
planted. It tests the checks, not counselling: rehearsed words are stand-ins, and its faults are crude.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.cast import Cast
from corpus.posts import read_posts
from graphs.grounding import SECOND_READER
from graphs.grow import Grower
from graphs.table import fingerprint, seated
from prompts.library import Library
from psyllm import __version__
from psyllm.journal import Journal
from psyllm.logs import configure
from psyllm.records import Critique, Decision, Dialogue, Dropped, Evidence, Status, Turn
from psyllm.rehearsal import RehearsalProcess
from psyllm.rehearsal.request import digest
from psyllm.rehearsal.words import data
from psyllm.runs import Run, StoredCall
from psyllm.settings import ModelSettings, Profile, Rules, Settings

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "posts.jsonl"
BY = ("schema", "code", "second reader", "critic")
"""What can catch a fault: the form of the answer, checks and gates in code, the second call, the critic's rubric."""


@dataclass(frozen=True)
class Step:
    """One answer: where it stands in its dialogue, and the fault planted in it, '' for none."""

    dialogue: Dialogue
    call: StoredCall
    fault: str

    @property
    def place(self) -> tuple[int, str, int]:
        number, node, attempt, _ = self.call.path.split("/")
        return int(number), node, int(attempt)

    @property
    def turn(self) -> Turn | None:
        number = self.place[0]
        return self.dialogue.turns[number - 1] if 0 < number <= len(self.dialogue.turns) else None


@dataclass(frozen=True)
class Fate:
    fault: str
    by: str
    """One of BY, '' if nobody saw it."""
    otherwise: bool = False
    """Sent back at that step, but under another code."""
    went_on: bool = False
    """Whether the dialogue went on from that step."""


async def grow(
    base_url: str,
    folder: Path,
    rules: Rules,
    library: Library | None = None,
    reseated: Callable[[Cast], Cast] = lambda cast: cast,
) -> None:
    """`reseated` changes the cast before the first call."""
    model = ModelSettings(base_url=base_url, model="rehearsal", sampling={}, concurrency=16)
    settings = Settings(models={"bench": model}, profiles={"bench": Profile(default="bench")})
    library, posts = library or Library(), read_posts([EXAMPLES]).posts
    journal = Journal.open(folder, fingerprint(settings, "bench", rules, library), __version__)
    async with seated(settings, "bench", rules, library, journal) as (cast, caller):
        await Grower(reseated(cast), caller, journal, posts, open_dialogues=16).run()
    journal.close()


def steps_of(folder: Path, log: Path) -> Iterator[Step]:
    """Every answered call of a run with what the server's log says about it."""
    lines = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    planted = {line["messages"]: line["planted"] for line in lines if line["event"] == "out"}
    with Run(folder) as run:
        for dialogue in run.dialogues():
            for call in run.calls(dialogue.id):
                yield Step(dialogue, call, next(iter(planted[digest(list(call.messages))]), ""))


def critique_at(turn: Turn | None, node: str, attempt: int) -> Critique | None:
    """How the client's or the therapist's words of that attempt were judged."""
    if turn is None:
        return None
    critiques: Sequence[Critique]
    if node == "patient":
        critiques, last = [draft.critique for draft in turn.client_drafts], turn.client_critique
    else:
        critiques, last = [draft.critique for draft in turn.drafts], turn.critique
    return critiques[attempt] if attempt < len(critiques) else last


def fate_of(step: Step, answered: bool) -> Fate:
    """`answered`: whether this place got an answer that fits its schema in the end."""
    _, node, attempt = step.place
    code, turn = data("faults")[step.fault]["code"], step.turn
    if step.call.parsed is None:
        return Fate(step.fault, "schema", went_on=answered)
    if node == "plan":
        codes = {reason.code for reason in step.dialogue.reasons if reason.role == "planner"}
        return Fate(step.fault, "code" if code in codes else "", bool(codes) and code not in codes)
    if node in ("patient", "respond"):
        critique = critique_at(turn, node, attempt)
        last = turn and (turn.client_critique if node == "patient" else turn.critique)
        went_on = bool(last and last.decision is Decision.ACCEPT)
        if critique is None or critique.decision is Decision.ACCEPT:
            return Fate(step.fault, "", went_on=went_on)
        named = code in {reason.code for reason in critique.reasons}
        by = {"code": "code", "model": "critic"}[critique.by] if named else ""
        return Fate(step.fault, by, not named, went_on)
    return Fate(step.fault, caught_by(step, turn), went_on=turn is not None and turn.reply is not None)


def caught_by(step: Step, turn: Turn | None) -> str:
    """What stopped a fault of the diagnostician or of the second reader."""
    answer = json.loads(step.call.parsed or "{}")
    if step.fault == "evidence_overclaimed" and turn is not None:
        gate = next((item.gate for item in turn.dropped if same(item, answer["evidence"][-1])), "")
        return "second reader" if gate == SECOND_READER else "code" if gate else ""
    if step.fault == "groundless_lowering" and turn is not None:
        quotes = {item.quote for risk in turn.risks for item in risk.cleared}
        return "" if quotes & {item["quote"] for item in answer["lowered"]} else "code"
    return ""


def same(item: Dropped, proposed: Mapping[str, object]) -> bool:
    claim = item.claim
    return isinstance(claim, Evidence) and (f"{claim.disorder}.{claim.criterion}", claim.sentence, claim.polarity) == (
        proposed["criterion"],
        proposed["sentence"],
        proposed["polarity"],
    )


def accused(steps: Iterable[Step]) -> Iterator[tuple[str, str]]:
    """(reason code or gate, who said it) at every place where nothing was planted."""
    places: dict[tuple[str, int, str, int], list[Step]] = defaultdict(list)
    for step in steps:
        places[step.dialogue.id, *step.place].append(step)
    for (_, _, node, attempt), there in places.items():
        turn, dialogue = there[0].turn, there[0].dialogue
        if any(step.fault for step in there):
            continue
        if node in ("patient", "respond") and (critique := critique_at(turn, node, attempt)):
            yield from ((reason.code, critique.by) for reason in critique.reasons)
        elif node == "plan" and dialogue.status is not Status.SCREENED_OUT:
            yield from ((reason.code, "code") for reason in dialogue.reasons if reason.role in ("planner", "dialogue"))
        elif node == "diagnose" and turn is not None:
            yield from ((f"gate {item.gate}", "code") for item in turn.dropped if item.gate != SECOND_READER)
        elif (
            node == "verify"
            and turn is not None
            and not spoilt(turn, places.get((dialogue.id, turn.round, "diagnose", 0), []))
        ):
            yield from (("gate " + SECOND_READER, "model") for item in turn.dropped if item.gate == SECOND_READER)


def spoilt(turn: Turn, steps: Sequence[Step]) -> bool:
    """Whether the diagnostician's answer of the turn was spoilt."""
    return any(step.fault == "evidence_overclaimed" for step in steps)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column to the left, numbers to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def report(steps: Sequence[Step]) -> str:
    answered = {(s.dialogue.id, s.place) for s in steps if s.call.parsed is not None}
    fates = [fate_of(s, (s.dialogue.id, s.place) in answered) for s in steps if s.fault]
    rows: list[Sequence[object]] = []
    for fault in data("faults"):
        mine = [fate for fate in fates if fate.fault == fault]
        caught = [fate for fate in mine if fate.by]
        by = Counter(fate.by for fate in caught)
        rows.append(
            (
                f"`{fault}`",
                len(mine),
                len(caught),
                *(by[name] or "" for name in BY),
                sum(fate.went_on for fate in caught),
                sum(fate.otherwise for fate in mine) or "",
                sum(not fate.by and not fate.otherwise for fate in mine) or "",
            )
        )
    named = Counter(accused(steps))
    codes = sorted({code for code, _ in named}, key=lambda code: (-named[code, "code"], -named[code, "model"], code))
    wrong = [(f"`{code}`", named[code, "code"] or "", named[code, "model"] or "") for code in codes]
    dialogues = {step.dialogue.id + str(step.dialogue.provenance.seed): step.dialogue for step in steps}
    counts = Counter(dialogue.status for dialogue in dialogues.values())
    told = ", ".join(f"{counts[status]} {status.replace('_', ' ')}" for status in Status if counts[status])
    clean = sum(not step.fault for step in steps)
    return "\n\n".join(
        (
            f"{len(dialogues)} dialogues ({told}), {len(steps)} answers, {len(fates)} of them spoilt.",
            table(("fault", "planted", "caught", *BY, "repaired", "other code", "missed"), rows),
            f"Accused at the {clean} answers in which nothing was planted:",
            table(("reason code or gate", "by code", "by model"), wrong),
        )
    )


def main() -> None:
    configure()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--fault-rate", type=float, default=0.25)
    given = parser.parse_args()
    configure()
    steps: list[Step] = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(given.seeds):
            folder, log = Path(scratch) / f"run-{seed}", Path(scratch) / f"server-{seed}.jsonl"
            with RehearsalProcess(seed=seed, fault_rate=given.fault_rate, log=log) as server:
                asyncio.run(grow(server.base_url, folder, Rules(seed=seed)))
            steps += steps_of(folder, log)
    print(report(steps))


if __name__ == "__main__":
    main()
