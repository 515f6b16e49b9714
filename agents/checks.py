"""Deterministic checks of plans, turns and dialogues, made before any critic model is asked.

A check is a small function that yields the offending words; it stands in a table under the reason code it finds.
Word lists and patterns are in checks.yaml; what danger asks of a reply is in safety.py. The checks aim at precision:
what they find is wrong, and what needs judgement is left to the critic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, Literal, TypeVar

from agents import safety
from agents.words import WholeWords, any_of, found, listed, overlap, plain, run, sentences, words_of
from clinical import Knowledge
from prompts.library import Modality
from psyllm.reasons import codes_for, meaning
from psyllm.records import (
    SAFETY_MODES,
    SAFETY_PROTOCOL,
    CasePlan,
    Critique,
    Decision,
    Finding,
    Mode,
    Post,
    Reason,
    Reply,
    Turn,
)

DETAIL = 160
"""Most characters of a reason's detail."""

_COPIED_RUN = 12
_QUOTED = 3
"""Fewest words of a quote that can be looked up."""


# ---------------------------------------------------------------- table

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class _Table(Generic[Subject]):
    role: Literal["planner", "patient", "therapist", "dialogue"]
    checks: Mapping[str, Callable[[Subject], Iterable[str]]]
    """Reason code -> what yields the offending words."""

    def reasons(self, subject: Subject, round_: int = 0) -> tuple[Reason, ...]:
        flaws = {code: list(dict.fromkeys(check(subject))) for code, check in self.checks.items()}
        return tuple(
            Reason(code=code, role=self.role, round=round_, detail=_cut("; ".join(flawed)))
            for code, flawed in flaws.items()
            if flawed
        )


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= DETAIL else text[: DETAIL - 3].rstrip() + "..."


# ---------------------------------------------------------------- plan


@dataclass(frozen=True)
class _PlanCase:
    plan: CasePlan
    post: Post

    @property
    def profile_texts(self) -> list[str]:
        return list(_strings(self.plan.profile.model_dump()))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for item in value.values() for text in _strings(item))
    elif isinstance(value, (list, tuple)):
        yield from (text for item in value for text in _strings(item))


def _diagnosis_in_profile(case: _PlanCase) -> Iterator[str]:
    posted = run(case.post.words)
    for text in case.profile_texts:
        yield from (label for label in found(listed("diagnosis"), text) if run(label) not in posted)


def _thin_profile(case: _PlanCase) -> Iterator[str]:
    words = sum(len(words_of(text)) for text in case.profile_texts)
    if words < 30:
        yield f"{words} words in all"
    if not any(len(words_of(memory)) >= 5 for memory in case.plan.profile.memories):
        yield "no memory of five words or more"


def _copied_from_post(case: _PlanCase) -> Iterator[str]:
    posted = run(case.post.words)
    for text in _strings(case.plan.model_dump()):
        words = words_of(text)
        windows = (words[i : i + _COPIED_RUN] for i in range(len(words) - _COPIED_RUN + 1))
        yield from next(([" ".join(window)] for window in windows if f" {' '.join(window)} " in posted), [])


def _twice(texts: Iterable[str]) -> Iterator[str]:
    counts = Counter(run(text).strip() for text in texts)
    return (text for text, count in counts.items() if text and count > 1)


def _generic_reasons(case: _PlanCase) -> Iterator[str]:
    choice = case.plan.modality
    if not any(reason.strip() for reason in choice.reasons):
        yield "no reason given"
    yield from _twice([*choice.reasons, *(rejected.why for rejected in choice.rejected)])


_PLAN = _Table[_PlanCase](
    "planner",
    {
        "profile_is_diagnosis": _diagnosis_in_profile,
        "profile_too_thin": _thin_profile,
        "post_copied": _copied_from_post,
        "rounds_unfocused": lambda case: _twice(plan.focus for plan in case.plan.rounds),
        "modality_reason_generic": _generic_reasons,
    },
)


def check_plan(plan: CasePlan, post: Post) -> tuple[Reason, ...]:
    """Reasons against a plan made from this post; at most one a code."""
    return _PLAN.reasons(_PlanCase(plan, post))


# ---------------------------------------------------------------- client


@dataclass(frozen=True)
class _ClientCase:
    plan: CasePlan
    turns: Sequence[Turn]

    @property
    def now(self) -> Turn:
        return self.turns[-1]


def _counselling_words(case: _ClientCase) -> Iterable[str]:
    words = {word.casefold() for word in found(listed("counselling_words"), case.now.client_text)}
    phrases = list(found(listed("counselling_phrases"), case.now.client_text))
    return [*phrases, *sorted(words)] if phrases or len(words) > 1 else []


def _early(case: _ClientCase) -> Iterator[str]:
    spoken = set(words_of(case.now.client_text))
    for item in case.plan.profile.withheld:
        wanted = {word for word in words_of(item.what) if not listed("stopwords").fullmatch(word)}
        shared = wanted & spoken
        if item.from_round > case.now.round and len(shared) >= 3 and len(shared) >= 0.7 * len(wanted):
            yield max((s.text for s in case.now.client), key=lambda text: len(shared.intersection(words_of(text))))


def _agreeing(turn: Turn) -> str:
    opening = listed("agreement").match(plain(turn.client_text))
    return opening[0] if opening else ""


def _compliant(case: _ClientCase) -> Iterable[str]:
    openings = [opening for opening in map(_agreeing, case.turns) if opening]
    return openings if len(openings) > 2 and _agreeing(case.now) else []


_CLIENT = _Table[_ClientCase](
    "patient",
    {
        "too_compliant": _compliant,
        "therapist_speak": _counselling_words,
        "early_disclosure": _early,
        "profile_leaked": lambda case: found(listed("profile_leak"), case.now.client_text),
        "method_detail": lambda case: safety.methods(case.now.client_text, at_risk=False),
    },
)


def check_client(plan: CasePlan, turns: Sequence[Turn]) -> tuple[Reason, ...]:
    """Reasons against the client's words in the last turn; at most one a code."""
    return _CLIENT.reasons(_ClientCase(plan, turns), turns[-1].round)


# ---------------------------------------------------------------- reply


@dataclass(frozen=True)
class _ReplyCase:
    knowledge: Knowledge
    modality: Modality
    turns: Sequence[Turn]
    reply: Reply

    @property
    def now(self) -> Turn:
        return self.turns[-1]

    @property
    def earlier(self) -> list[str]:
        return [turn.reply.text for turn in self.turns[:-1] if turn.reply]

    @property
    def labels(self) -> WholeWords:
        return labels_of(self.knowledge)


@cache
def labels_of(knowledge: Knowledge) -> WholeWords:
    """The names of disorders, which are kept from the person."""
    return any_of(tuple(re.escape(label) for label in sorted(knowledge.labels, key=len, reverse=True)))


_CURLY, _STRAIGHT = re.compile(r"“([^”]*)”"), re.compile(r"\"([^\"\n]*)\"")


def _quotes(text: str) -> list[str]:
    return [*_CURLY.findall(text), *_STRAIGHT.findall(_CURLY.sub(" ", text))]


def without_quotes(text: str) -> str:
    return _STRAIGHT.sub(" ", _CURLY.sub(" ", text))


def verbatim(quote: str, texts: Iterable[str]) -> bool:
    """Whether the quote's words, three or more, stand in this order in one of the texts."""
    return len(words_of(quote)) >= _QUOTED and any(run(quote) in run(text) for text in texts)


def _invented_quotes(case: _ReplyCase) -> Iterator[str]:
    said = (*(turn.client_text for turn in case.turns), *case.earlier)
    for quote in _quotes(case.reply.reasoning):
        if len(words_of(quote)) >= _QUOTED and not verbatim(quote, said):
            yield quote


_MARK = "LABEL"
_CLAUSES = re.compile(r"[;!?]\s*|\.\s+|,?\s(?:but|while|whereas|although|though)\s")
_ENOUGH = {"claims_met": {"met"}, "claims_provisional": {"met", "provisional"}}


def _overclaimed(case: _ReplyCase) -> Iterator[str]:
    disorder_of = case.knowledge.labels
    for sentence in sentences(without_quotes(plain(case.reply.reasoning))):
        about: set[str] = set()
        for clause in _CLAUSES.split(sentence):
            named = [label[0] for label in case.labels.finditer(clause)]
            about = {disorder_of[label.lower()] for label in named} or about
            masked = case.labels.sub(_MARK, clause)
            for claim, verdicts in _ENOUGH.items():
                for match in listed(claim).finditer(masked):
                    if _certain(match) and not _supported(case.now.findings, about, clause, verdicts):
                        yield _unmasked(match, named)


def _certain(match: re.Match[str]) -> bool:
    """Whether no doubt, denial or condition stands in the match or in the few words around it."""
    before, after = match.string[: match.start()].split(), match.string[match.end() :].split()
    return not listed("unsure").search(" ".join((*before[-6:], match[0], *after[:2])))


def _unmasked(match: re.Match[str], named: Sequence[str]) -> str:
    words = match[0]
    for name in named[match.string.count(_MARK, 0, match.start()) :]:
        words = words.replace(_MARK, name, 1)
    return words


def _supported(findings: Sequence[Finding], about: set[str], clause: str, verdicts: set[str]) -> bool:
    """Whether the engine said so of a disorder named (or of any, if none is), in the system that the clause names."""
    systems = {system for system, name in (("dsm5tr", "DSM"), ("icd11", "ICD")) if name in clause.upper()}
    return any(
        finding.verdict in verdicts
        and (not about or finding.disorder in about)
        and (len(systems) != 1 or finding.system in systems)
        for finding in findings
    )


def _no_verdict(case: _ReplyCase) -> Iterator[str]:
    reasoning = plain(case.reply.reasoning)
    if case.now.mode not in SAFETY_MODES and not listed("verdict_words").search(reasoning):
        yield "the reasoning does not say what is and is not supported"


def _labels(knowledge: Knowledge, text: str) -> Iterator[str]:
    yield from found(labels_of(knowledge), text)
    yield from found(listed("manual_words"), text)


def _unknown_technique(case: _ReplyCase) -> Iterator[str]:
    if case.reply.technique not in (SAFETY_PROTOCOL, *case.modality.techniques):
        yield case.reply.technique


def _locked_technique(case: _ReplyCase) -> Iterator[str]:
    technique, mode = case.reply.technique, case.now.mode
    known = case.modality.techniques.get(technique)
    locked = known is not None and known.klass in case.knowledge.locked_classes(mode)
    if technique != SAFETY_PROTOCOL and (locked or mode in SAFETY_MODES):
        yield f"{technique} in mode {mode}"


def _many_questions(case: _ReplyCase) -> list[str]:
    questions = [sentence.strip() for sentence in sentences(case.reply.text) if "?" in sentence]
    return questions if case.reply.text.count("?") > (1 if case.now.mode in SAFETY_MODES else 2) else []


def _stock_opening(case: _ReplyCase) -> Iterator[str]:
    if opening := listed("stock_opening").match(plain(case.reply.text).lstrip()):
        yield opening[0]
    new = words_of(case.reply.text)
    if any(new[:3] == old[:3] and new[:5] != old[:5] for old in map(words_of, case.earlier)):
        yield f"{' '.join(new[:3])} (opened an earlier reply)"


def _repeated(case: _ReplyCase) -> Iterator[str]:
    new = words_of(case.reply.text)
    for old in map(words_of, case.earlier):
        if new[:5] == old[:5]:
            yield " ".join(new[:5])
        elif overlap(new, old) >= 0.8:
            yield case.reply.text


def _advice(_: Knowledge, reply: str) -> list[str]:
    text = plain(reply)
    items = re.findall(r"^\s*(?:[-*•]|\d+[.)])\s.*", text, re.MULTILINE)
    pieces = {sentence: _suggestions(sentence) for sentence in sentences(text) if "?" not in sentence}
    advice = [sentence for sentence, count in pieces.items() if count]
    return items if len(items) >= 3 else advice if sum(pieces.values()) >= 3 else []


def _suggestions(sentence: str) -> int:
    told = len(list(listed("suggestion").finditer(sentence))) or bool(listed("imperative").match(sentence))
    return told and told + len(re.findall(r",\s(?:and |or )?\w+ing\b", sentence))


def _self_claims(_: Knowledge, text: str) -> Iterator[str]:
    return found(listed("self_claim"), without_quotes(text))


OF_WORDS: Mapping[str, Callable[[Knowledge, str], Iterable[str]]] = {
    "label_in_reply": _labels,
    "self_claim": _self_claims,
    "advice_pile_up": _advice,
}
"""Reason code -> the check of a reply that needs its words alone."""


def _words_of(code: str, *, spared: Collection[Mode] = ()) -> Callable[[_ReplyCase], Iterable[str]]:
    """A check of words alone as one of a case, which modes may spare."""
    return lambda case: () if case.now.mode in spared else OF_WORDS[code](case.knowledge, case.reply.text)


_REPLY = _Table[_ReplyCase](
    "therapist",
    {
        "safety_step_missing": lambda case: safety.missing_steps(case.knowledge, case.turns, case.reply.text),
        "safety_forbidden": lambda case: safety.forbidden(case.knowledge, case.now, case.reply.text),
        "danger_not_asked": lambda case: safety.unasked(case.knowledge, case.turns, case.reply.text),
        "contact_only": lambda case: safety.contact_only(case.now, case.reply.text),
        "skill_pile_up": lambda case: safety.skills(case.now, case.reply.text),
        "length_off": lambda case: safety.lengths(case.now, case.reply.text),
        "technique_under_lock": _locked_technique,
        "technique_unknown": _unknown_technique,
        "verdict_overclaimed": _overclaimed,
        "verdict_absent": _no_verdict,
        "quote_not_verbatim": _invented_quotes,
        "instruction_leak": lambda case: found(listed("instruction_leak"), without_quotes(case.reply.reasoning)),
        "label_in_reply": _words_of("label_in_reply"),
        "self_claim": _words_of("self_claim"),
        "stock_opening": _stock_opening,
        "repeated_reply": _repeated,
        "advice_pile_up": _words_of("advice_pile_up", spared=SAFETY_MODES),
        "question_run": _many_questions,
    },
)


def check_reply(knowledge: Knowledge, modality: Modality, turns: Sequence[Turn], reply: Reply) -> tuple[Reason, ...]:
    """Reasons against a reply to the last turn, safety first; at most one a code."""
    return _REPLY.reasons(_ReplyCase(knowledge, modality, turns, reply), turns[-1].round)


# ---------------------------------------------------------------- dialogue


def _alike_openings(turns: Sequence[Turn]) -> Iterator[str]:
    openings = Counter(" ".join(words_of(turn.reply.text)[:3]) for turn in turns if turn.reply)
    return (words for words, n in openings.items() if n > 1 and n > openings.total() / 3)


def _nothing_new(turns: Sequence[Turn]) -> Iterator[str]:
    said: set[str] = set()
    for turn in turns:
        sentences = {run(sentence.text) for sentence in turn.client}
        if sentences <= said:
            yield turn.client_text
        said |= sentences


def _dropped_risk(turns: Sequence[Turn]) -> Iterator[str]:
    raised = next((turn for turn in turns if turn.mode in SAFETY_MODES), None)
    if raised:
        later = (turn for turn in turns if turn.round > raised.round and turn.mode == "ordinary")
        yield from (f"{raised.mode} in round {raised.round}, ordinary in round {turn.round}" for turn in later)


def _personal(turns: Sequence[Turn]) -> Iterator[str]:
    for turn in turns:
        for text in (turn.client_text, *((turn.reply.reasoning, turn.reply.text) if turn.reply else ())):
            yield from found(listed("email", "link", "phone"), text)


def _equal_lengths(turns: Sequence[Turn]) -> Iterator[str]:
    lengths = [len(words_of(turn.client_text)) for turn in turns]
    if len(lengths) >= 4 and max(lengths) <= 1.1 * min(lengths):
        yield f"client turns of {', '.join(map(str, lengths))} words"


_DIALOGUE = _Table[Sequence[Turn]](
    "dialogue",
    {
        "risk_dropped": _dropped_risk,
        "personal_data": _personal,
        "no_movement": _nothing_new,
        "openings_repetitive": _alike_openings,
        "length_monotone": _equal_lengths,
    },
)


def check_dialogue(turns: Sequence[Turn]) -> tuple[Reason, ...]:
    """Reasons against a whole dialogue; at most one a code."""
    return _DIALOGUE.reasons(turns)


# ---------------------------------------------------------------- guidance


def guidance(reasons: Sequence[Reason]) -> str:
    """What to change, one line a reason, addressed to the role of the first; reasons of other roles are left out."""
    if not reasons:
        return ""
    known = codes_for(reasons[0].role)
    lines = [f"- {meaning(reason.code)}: {reason.detail}" for reason in reasons if reason.code in known]
    return "\n".join(("Change this, and keep the rest:", *lines))


def sent_back(target: Literal["patient", "therapist"], reasons: tuple[Reason, ...]) -> Critique:
    """The critique by code that sends a turn back for these reasons."""
    return Critique(target=target, by="code", decision=Decision.REVISE, reasons=reasons, guidance=guidance(reasons))
