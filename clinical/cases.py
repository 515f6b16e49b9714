"""Cases with a gold answer: a transcript and a proposal, judged by code alone, and then compared.

cases, gold = read(Path("cases.yaml"))
outcomes = [judge(knowledge, case) for case in cases]  # nothing here has seen a gold label
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clinical.knowledge import Knowledge
from clinical.schema import SYSTEMS
from clinical.sentence import normal
from psyllm.errors import UsageError
from psyllm.records import Evidence, Fact, Reply, Sentence, System, Turn

GOLD = ("gate", "expected", "why", "title")
"""Keys that are taken out before anything else sees a case; the title gives the answer away too."""
GATES = {
    "not_found": "reject_not_found",
    "sentence": "reject_not_found",
    "counsellor": "reject_counsellor_turn",
    "negation": "reject_negated",
    "experiencer": "reject_third_person",
    "past": "reject_past",
    "hypothetical": "reject_hypothetical",
    "label": "reject_label_only",
    "acquiescence": "reject_acquiescence",
    "single_use": "reject_double_count",
    "vague": "reject_vague",
    "criterion": "reject_unknown_criterion",
}
"""Gate of clinical/gates.py -> its name in a file of cases. Every refusal of a fact is reject_ungrounded_fact."""
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+")


@dataclass(frozen=True)
class Case:
    """What the code under test may see."""

    id: str
    turns: tuple[Turn, ...]
    disorder: str
    codes: Mapping[System, str]
    evidence: tuple[Mapping[str, Any], ...]
    facts: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Answer:
    verdict: str
    """met, provisional, insufficient, contradicted, or not_applicable where the system has no such entity."""
    redirect: str
    code_status: str
    """Empty when no code was proposed."""
    why: str = ""


@dataclass(frozen=True)
class Outcome:
    """What code made of one case."""

    id: str
    answers: Mapping[System, Answer]
    gates: tuple[str, ...]
    """One an item of evidence, then one a fact, in the order of the file: accept or a reject_ name."""
    items: tuple[str, ...]


@dataclass(frozen=True)
class Gold:
    expected: Mapping[System, Mapping[str, Any]]
    gates: tuple[str | None, ...]
    """None where the file says nothing."""


def read(path: Path) -> tuple[list[Case], list[Gold]]:
    """The cases without a gold label, and the labels. Raises UsageError naming the file and the case."""
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows = list(table["cases"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: no file of cases: {error!r}", hint="the format is in clinical/README.md") from error
    cases, gold = [], []
    for i, row in enumerate(rows):
        try:
            proposal = row["proposal"]
            gold.append(
                Gold(
                    row.get("expected") or {},
                    tuple(each.get("gate") for each in (*_evidence(proposal), *_facts(proposal))),
                )
            )
            cases.append(_case(_stripped(row)))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            name = row.get("id", i + 1) if isinstance(row, dict) else i + 1
            raise UsageError(f"{path}: case {name}: {error!r}", hint="the format is in clinical/README.md") from error
    return cases, gold


def lenient(path: Path) -> bool:
    """Whether the file, which can be read, asks for the lenient profile."""
    return bool(yaml.safe_load(path.read_text(encoding="utf-8")).get("profile") == "lenient")


def _stripped(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _stripped(value) for key, value in node.items() if key not in GOLD}
    return [_stripped(each) for each in node] if isinstance(node, list) else node


def _case(row: dict[str, Any]) -> Case:
    proposal = row["proposal"]
    codes: dict[System, str] = {
        "dsm5tr": str(proposal.get("code_dsm") or ""),
        "icd11": str(proposal.get("code_icd11") or ""),
    }
    return Case(
        id=str(row["id"]),
        turns=_turns(row["transcript"]),
        disorder=proposal["disorder"],
        codes=codes,
        evidence=_evidence(proposal),
        facts=_facts(proposal),
    )


def _evidence(proposal: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple(proposal.get("evidence") or ())


def _facts(proposal: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    stated = [{"fact": name, **item} for name, item in (proposal.get("facts") or {}).items()]
    return (*stated, *(proposal.get("rejected_facts") or ()))


def _turns(transcript: list[dict[str, str]]) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    n = 0
    for spoken in transcript:
        if spoken["sp"] == "C":
            last = turns.pop() if turns and turns[-1].reply is None else Turn(round=len(turns) + 1, client=())
            turns.append(last.model_copy(update={"reply": Reply(reasoning="", technique="", text=spoken["t"])}))
            continue
        texts = [text.strip() for text in _SENTENCE.split(spoken["t"]) if text.strip()]
        sentences = tuple(Sentence(n=n + i, text=text) for i, text in enumerate(texts, start=1))
        n += len(sentences)
        turns.append(Turn(round=len(turns) + 1, client=sentences))
    return tuple(turns)


# ---------------------------------------------------------------- judging


def judge(knowledge: Knowledge, case: Case) -> Outcome:
    """Quotes to numbered sentences, gates, engine, codes."""
    if case.disorder not in knowledge.disorders:
        raise UsageError(f"case {case.id}: no disorder is called {case.disorder!r}", hint="psyllm clinical ls")
    placed = [_place(item["q"], case.turns) for item in (*case.evidence, *case.facts)]
    claims = [
        _claim(case.disorder, item, where) for item, where in zip((*case.evidence, *case.facts), placed, strict=True)
    ]
    found = [(claim, item["q"]) for claim, item in zip(claims, (*case.evidence, *case.facts), strict=True)]
    known = [(claim, quote) for (claim, quote), where in zip(found, placed, strict=True) if isinstance(where, int)]
    evidence, facts, dropped = knowledge.gate([c for c, _ in known], case.turns, [q for _, q in known])
    refused = {id(each.claim): each.gate for each in dropped}
    gates = [
        where if isinstance(where, str) else refused.get(id(claim), "")
        for claim, where in zip(claims, placed, strict=True)
    ]
    return Outcome(
        id=case.id,
        answers=_answers(knowledge, case, evidence, facts),
        gates=tuple(_gold_name(gate, claim) for gate, claim in zip(gates, claims, strict=True)),
        items=tuple(f"{item.get('c') or item['fact']}: {item['q']}" for item in (*case.evidence, *case.facts)),
    )


def _claim(disorder: str, item: Mapping[str, Any], where: int | str) -> Evidence | Fact:
    number = where if isinstance(where, int) else 1
    if "c" in item:
        return Evidence(disorder=disorder, criterion=item["c"], sentence=number, polarity=item.get("pol", "asserts"))
    return Fact(name=item["fact"], value=item["v"], sentence=number, disorders=(disorder,))


def _gold_name(gate: str, claim: Evidence | Fact) -> str:
    if not gate:
        return "accept"
    return "reject_ungrounded_fact" if isinstance(claim, Fact) else GATES[gate]


def _place(quote: str, turns: tuple[Turn, ...]) -> int | str:
    """The number of the client sentence in which a quote begins; else the gate that stops it.

    A quote is whole words in a row of one client turn; it may run over the end of a sentence.
    """
    words = normal(quote).strip(" .,;:!?\"'")
    pattern = re.compile(rf"(?<!\w){re.escape(words)}(?!\w)")
    for turn in turns:
        starts: list[tuple[int, int]] = []
        text = ""
        for sentence in turn.client:
            starts.append((len(text), sentence.n))
            text += normal(sentence.text) + " "
        match = pattern.search(text) if words else None
        if match:
            return max(n for start, n in starts if start <= match.start())
    said = any(pattern.search(normal(turn.reply.text)) for turn in turns if turn.reply)
    return "counsellor" if words and said else "not_found"


def _answers(
    knowledge: Knowledge, case: Case, evidence: tuple[Evidence, ...], facts: tuple[Fact, ...]
) -> dict[System, Answer]:
    rulings = {
        r.finding.system: r
        for r in knowledge.rule(evidence, facts, [case.disorder])
        if r.finding.disorder == case.disorder
    }
    answers: dict[System, Answer] = {}
    for system in SYSTEMS:
        ruling, code = rulings.get(system), case.codes[system]
        status = knowledge.code_status(code, system, case.disorder, ruling) if code else ""
        if ruling is None:
            answers[system] = Answer("not_applicable", "", status)
        else:
            redirect = ruling.redirect if ruling.finding.verdict == "contradicted" else ""
            answers[system] = Answer(ruling.finding.verdict, redirect, status, ruling.finding.why)
    return answers


# ---------------------------------------------------------------- comparing


@dataclass
class Tally:
    right: int = 0
    total: int = 0

    def add(self, right: bool) -> bool:
        self.right += right
        self.total += 1
        return right

    @property
    def all_right(self) -> bool:
        return self.right == self.total

    def __str__(self) -> str:
        return f"{self.right}/{self.total}"


@dataclass(frozen=True)
class Line:
    case: str
    system: System
    answer: Answer
    wrong: tuple[str, ...]
    """What the gold says instead."""


@dataclass
class Score:
    lines: list[Line]
    wrong_gates: list[str]
    verdicts: Tally
    codes: Tally
    redirects: Tally
    gates: Tally


def compare(outcomes: list[Outcome], gold: list[Gold]) -> Score:
    """Outcomes beside their gold labels, in the same order. What the gold leaves out is not counted."""
    score = Score([], [], Tally(), Tally(), Tally(), Tally())
    for outcome, labels in zip(outcomes, gold, strict=True):
        for system, expected in labels.expected.items():
            answer, wrong = outcome.answers[system], []
            if "verdict" in expected and not score.verdicts.add(answer.verdict == expected["verdict"]):
                wrong.append(f"verdict {expected['verdict']}")
            if "code_status" in expected and not score.codes.add(answer.code_status == expected["code_status"]):
                wrong.append(f"code {expected['code_status']}")
            if expected.get("redirect") and not score.redirects.add(answer.redirect == expected["redirect"]):
                wrong.append(f"redirect {expected['redirect']}")
            score.lines.append(Line(outcome.id, system, answer, tuple(wrong)))
        for item, found, label in zip(outcome.items, outcome.gates, labels.gates, strict=True):
            if label is not None and not score.gates.add(found == label):
                score.wrong_gates.append(f"{outcome.id} {item}: {found}, gold {label}")
    return score
