"""A dialogue made ready for a page: turns with quotes marked on both sides, checklists, scores, calls.

page data = read(run, dialogue_id, knowledge); the templates only lay it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.web.changes import changes
from app.web.marks import Mark, Span, locate, quotes, spans
from clinical import Knowledge
from prompts.blocks import SYSTEM_NAMES
from psyllm.records import CRISIS_CONTACTS, Critique, Dialogue, Dropped, Evidence, Finding, Risk, Turn
from psyllm.runs import Run, StoredCall
from psyllm.runs.steps import Totals, totals
from psyllm.runs.why import Why, explain


@dataclass(frozen=True)
class Line:
    """One client sentence."""

    n: int
    """Its number over the whole dialogue; its anchor is s and the number."""
    spans: tuple[Span, ...]
    carries: tuple[str, ...]
    """Criteria that rest on it, e.g. `mdd A1`, or `denies mdd A2`."""


@dataclass(frozen=True)
class Verdict:
    """What one system says of a disorder."""

    system: str
    """DSM-5-TR or ICD-11."""
    name: str
    verdict: str
    codes: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Item:
    """One criterion as it stood."""

    id: str
    text: str
    state: str
    """met, denied or unknown."""
    sentences: tuple[int, ...]
    only: str
    """The only system that knows it; empty for both."""


@dataclass(frozen=True)
class Checklist:
    """One disorder after a turn."""

    disorder: str
    verdicts: tuple[Verdict, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Attempt:
    """A turn that was sent back, with what the next version changed."""

    text: tuple[Span, ...]
    reasoning: tuple[Span, ...]
    critique: Critique


@dataclass(frozen=True)
class TurnPage:
    """One round."""

    round: int
    lines: tuple[Line, ...]
    client_attempts: tuple[Attempt, ...]
    reasoning: tuple[Span, ...]
    reply: tuple[Span, ...]
    technique: str
    attempts: tuple[Attempt, ...]
    critique: Critique | None
    faults: Mapping[str, str]
    """Words that a critique or the end points at -> the anchor where they stand."""
    mode: str
    risks: tuple[Risk, ...]
    """Those above level 0."""
    checklists: tuple[Checklist, ...]
    dropped: tuple[Dropped, ...]
    questions: tuple[str, ...]
    calls: tuple[StoredCall, ...]


@dataclass(frozen=True)
class Reading:
    """One dialogue."""

    dialogue: Dialogue
    why: Why
    turns: tuple[TurnPage, ...]
    plan_calls: tuple[StoredCall, ...]
    totals: Totals
    prefix: str
    """Stands before every anchor, so that several dialogues fit on a page."""


def read(run: Run, dialogue: Dialogue, knowledge: Knowledge, prefix: str = "") -> Reading:
    """`prefix` must differ between dialogues on one page."""
    calls = tuple(run.calls(dialogue.id))
    sought = _sought(dialogue)
    said = [sentence for turn in dialogue.turns for sentence in turn.client]
    texts = [sentence.text for sentence in said]
    client: dict[int, list[Mark]] = {sentence.n: [] for sentence in said}
    reasoning: dict[int, list[Mark]] = {}
    for turn in dialogue.turns:
        heard = sum(len(t.client) for t in dialogue.turns if t.round <= turn.round)
        marks = reasoning.setdefault(turn.round, [])
        for k, (start, end, words) in enumerate(quotes(turn.reply.reasoning if turn.reply else ""), 1):
            places = locate(words, texts[:heard])
            if places:
                own, there = f"{prefix}q-{turn.round}-{k}", f"{prefix}s{said[places[0][0]].n}"
                marks.append(Mark(start, end, "quote", own, there))
            for n, first, last in places:
                client[said[n].n].append(Mark(first, last, "quote", "", f"{prefix}q-{turn.round}-{k}"))
    turns = tuple(
        _turn(dialogue, turn, calls, knowledge, client, reasoning[turn.round], sought[turn.round], prefix)
        for turn in dialogue.turns
    )
    plan_calls = tuple(call for call in calls if call.round == 0)
    return Reading(dialogue, explain(dialogue, calls), turns, plan_calls, totals(calls), prefix)


def _sought(dialogue: Dialogue) -> dict[int, list[str]]:
    """Round -> the words that a critique, or the dialogue's end, points at."""
    sought: dict[int, list[str]] = {turn.round: [] for turn in dialogue.turns}
    for turn in dialogue.turns:
        for critique in (turn.client_critique, turn.critique):
            sought[turn.round] += [reason.detail for reason in critique.reasons] if critique else []
    for reason in dialogue.reasons:
        if reason.round in sought:
            sought[reason.round].append(reason.detail)
    return {number: list(dict.fromkeys(filter(None, words))) for number, words in sought.items()}


def _turn(
    dialogue: Dialogue,
    turn: Turn,
    calls: Sequence[StoredCall],
    knowledge: Knowledge,
    client: Mapping[int, list[Mark]],
    quoted: list[Mark],
    sought: Sequence[str],
    prefix: str,
) -> TurnPage:
    reply = turn.reply
    shown = knowledge.contacts()
    texts = {
        "reply": reply.text.replace(CRISIS_CONTACTS, shown) if reply else "",
        "reasoning": reply.reasoning if reply else "",
    }
    marks: dict[str, list[Mark]] = {"reply": [], "reasoning": []}
    faults: dict[str, str] = {}
    for k, words in enumerate(sought, 1):
        anchor = f"{prefix}f-{turn.round}-{k}"
        for name, text in texts.items():
            if places := locate(words.replace(CRISIS_CONTACTS, shown), [text]):
                marks[name].append(Mark(places[0][1], places[0][2], "fault", anchor))
                faults[words] = anchor
                break
        else:
            if places := locate(words, [sentence.text for sentence in turn.client]):
                faults[words] = f"{prefix}s{turn.client[places[0][0]].n}"
    return TurnPage(
        round=turn.round,
        lines=tuple(Line(s.n, spans(s.text, client[s.n]), _carries(dialogue, s.n)) for s in turn.client),
        client_attempts=_attempts(
            [(" ".join(draft.sentences), "", draft.critique) for draft in turn.client_drafts], (turn.client_text, "")
        ),
        reasoning=spans(texts["reasoning"], [*marks["reasoning"], *quoted]),
        reply=spans(texts["reply"], marks["reply"]),
        technique=reply.technique if reply else "",
        attempts=_attempts(
            [
                (draft.reply.text.replace(CRISIS_CONTACTS, shown), draft.reply.reasoning, draft.critique)
                for draft in turn.drafts
            ],
            (texts["reply"], texts["reasoning"]),
        ),
        critique=turn.critique,
        faults=faults,
        mode=turn.mode,
        risks=tuple(risk for risk in turn.risks if risk.level),
        checklists=_checklists(dialogue, turn, knowledge),
        dropped=turn.dropped,
        questions=turn.questions,
        calls=tuple(call for call in calls if call.round == turn.round),
    )


def _attempts(sent_back: Sequence[tuple[str, str, Critique]], kept: tuple[str, str]) -> tuple[Attempt, ...]:
    versions = [(text, reasoning) for text, reasoning, _ in sent_back] + [kept]
    return tuple(
        Attempt(changes(text, versions[n][0]), changes(reasoning, versions[n][1]), critique)
        for n, (text, reasoning, critique) in enumerate(sent_back, 1)
    )


def _carries(dialogue: Dialogue, n: int) -> tuple[str, ...]:
    claims = [claim for turn in dialogue.turns for claim in turn.evidence if claim.sentence == n]
    return tuple(f"{'denies ' if c.polarity == 'denies' else ''}{c.disorder} {c.criterion}" for c in claims)


def _checklists(dialogue: Dialogue, turn: Turn, knowledge: Knowledge) -> tuple[Checklist, ...]:
    evidence = [claim for t in dialogue.turns if t.round <= turn.round for claim in t.evidence]
    names = dict.fromkeys(finding.disorder for finding in turn.findings)
    return tuple(
        _checklist(name, [f for f in turn.findings if f.disorder == name], evidence, knowledge) for name in names
    )


def _checklist(name: str, findings: Sequence[Finding], evidence: Sequence[Evidence], knowledge: Knowledge) -> Checklist:
    held = {criterion for finding in findings for criterion in finding.held}
    denied = {criterion for finding in findings for criterion in finding.denied}
    disorder = knowledge.disorders.get(name)
    known = {c.id: (c.t, c.sys) for c in disorder.criteria} if disorder else dict.fromkeys(held | denied, ("", None))
    items = [
        Item(
            id=criterion,
            text=text,
            state="met" if criterion in held else "denied" if criterion in denied else "unknown",
            sentences=tuple(e.sentence for e in evidence if (e.disorder, e.criterion) == (name, criterion)),
            only=SYSTEM_NAMES[system] if system else "",
        )
        for criterion, (text, system) in known.items()
    ]
    verdicts = [Verdict(SYSTEM_NAMES[f.system], f.name, f.verdict, f.codes, f.why) for f in findings]
    order = ("met", "denied", "unknown")
    return Checklist(name, tuple(verdicts), tuple(sorted(items, key=lambda item: order.index(item.state))))
