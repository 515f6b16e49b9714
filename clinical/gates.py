"""Evidence gates: what a proposed claim must pass before the engine counts it. Own rules on one sentence; no model.

    evidence: sentence, criterion, single_use; label, acquiescence, negation, experiencer, hypothetical, past, vague
    fact:     sentence, fact, single_use, experiencer, hypothetical, past, negation, grounding

They stop what is clearly wrong and let the rest pass: what a sentence means is the diagnostician's work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clinical.durations import Clock
from clinical.schema import Criterion, Disorder, FactSpec
from clinical.sentence import Said, normal
from psyllm.records import Dropped, Evidence, Fact, Turn

Refusal = tuple[str, str] | None
"""The gate and why; none lets the claim pass."""


@dataclass(frozen=True)
class Offer:
    """What may be claimed about one disorder in the loaded systems."""

    disorder: Disorder
    criteria: Mapping[str, Criterion]
    facts: Mapping[str, FactSpec]


def sift(
    claims: Sequence[Evidence | Fact],
    turns: Sequence[Turn],
    offers: Mapping[str, Offer],
    clock: Clock,
    quotes: Sequence[str] = (),
) -> tuple[tuple[Evidence, ...], tuple[Fact, ...], tuple[Dropped, ...]]:
    """New claims against all turns so far -> accepted evidence, accepted facts, and what was refused and why."""
    heard = _heard(turns)
    evidence: list[Evidence] = []
    facts: list[Fact] = []
    dropped: list[Dropped] = []
    used: list[tuple[Evidence, str]] = []
    for i, proposed in enumerate(claims):
        claim, quote = _bound(proposed, offers), normal(quotes[i]) if i < len(quotes) else ""
        refusal: Refusal
        if claim.sentence not in heard:
            refusal = "sentence", f"the client has not said a sentence s{claim.sentence}"
        elif isinstance(claim, Evidence):
            standing = [*(e for turn in turns for e in turn.evidence), *evidence]
            refusal = _evidence(claim, *heard[claim.sentence], offers, standing, quote, used)
        else:
            refusal = _fact(claim, *heard[claim.sentence], offers, clock)
            held = [f.model_copy(update={"approx": False}) for f in (*(f for t in turns for f in t.facts), *facts)]
            if refusal is None and claim in held:
                refusal = "single_use", f"already held from s{claim.sentence}"
        if refusal is not None:
            dropped.append(Dropped(claim=proposed, gate=refusal[0], why=refusal[1]))
            if refusal[0] == "negation" and isinstance(claim, Evidence) and claim.polarity == "asserts":
                evidence += _denial(claim, [*(e for turn in turns for e in turn.evidence), *evidence])
        elif isinstance(claim, Evidence):
            evidence.append(claim)
            used.append((claim, quote))
        else:
            about = claim.name == "duration_days" and clock.hedged(heard[claim.sentence][0].text)
            facts.append(claim.model_copy(update={"approx": about}))
    return tuple(evidence), tuple(facts), tuple(dropped)


def _denial(claim: Evidence, standing: Sequence[Evidence]) -> list[Evidence]:
    """What a sentence that denies the claim says instead; it takes back nothing that another sentence carries."""
    same = [e for e in standing if (e.disorder, e.criterion) == (claim.disorder, claim.criterion)]
    return [] if same else [claim.model_copy(update={"polarity": "denies"})]


def _heard(turns: Sequence[Turn]) -> dict[int, tuple[Said, str]]:
    """Sentence number -> the sentence, and the counsellor's words before it when it answers them with a yes or no."""
    heard = {}
    asked = ""
    for turn in turns:
        before = None
        for sentence in turn.client:
            said = Said.of(sentence.text, before)
            heard[sentence.n] = said, asked if said.answers or said.bare_answer else ""
            before = said
        asked = normal(turn.reply.text) if turn.reply else ""
    return heard


def _bound(claim: Evidence | Fact, offers: Mapping[str, Offer]) -> Evidence | Fact:
    """A fact about the person counts for every disorder, whichever it was proposed for."""
    if isinstance(claim, Fact) and (spec := _spec(claim, offers)) and spec.about == "person":
        return claim.model_copy(update={"disorders": ()})
    return claim


def _spec(claim: Fact, offers: Mapping[str, Offer]) -> FactSpec | None:
    """The fact, if every disorder that the claim names asks for it, or any at all when it names none."""
    asking = [name for name, offer in offers.items() if claim.name in offer.facts]
    named = claim.disorders or asking[:1]
    return offers[named[0]].facts[claim.name] if named and set(named) <= set(asking) else None


def _evidence(
    claim: Evidence,
    said: Said,
    asked: str,
    offers: Mapping[str, Offer],
    standing: Sequence[Evidence],
    quote: str,
    used: Sequence[tuple[Evidence, str]],
) -> Refusal:
    offer = offers.get(claim.disorder)
    if offer is None or claim.criterion not in offer.criteria:
        return "criterion", f"there is no criterion {claim.disorder}.{claim.criterion}"
    if refusal := _used(claim, said, offer, standing, quote, used):
        return refusal
    criterion = offer.criteria[claim.criterion]
    scope = said.scope((*criterion.words, *criterion.about), quote)
    negations = said.negations(criterion.words, [clause.text for clause in scope])
    if claim.polarity == "denies":
        plain = negations and not any(negations) and not said.answers
        return ("negation", f"the sentence asserts it: {said.text}") if plain else None
    if label := said.only_label([label for each in offers.values() for label in each.disorder.lay_labels]):
        return "label", f"{label!r} is a label, not a symptom"
    if said.bare_answer:
        return None if _asked_plainly(asked, said, criterion) else ("acquiescence", "a bare yes or no asserts nothing")
    well = said.dismisses((*criterion.words, *criterion.about), [clause.text for clause in scope])
    if (negations and all(negations)) or said.clipped(quote) or well:
        return "negation", f"the sentence denies it: {said.text}"
    if not criterion.others and (somebody := said.somebody_else(scope)):
        return "experiencer", f"it is about {somebody!r}"
    if (doubt := said.unsure()) or said.supposed(scope, criterion.words):
        return "hypothetical", f"it is supposed or doubted, not told{f': {doubt!r}' if doubt else ''}"
    if not criterion.past and (when := said.over(scope)):
        return "past", f"it is past: {when!r}"
    if said.says_nothing(scope):
        return "vague", "distress in general carries no criterion"
    if criterion.pervasive and (when := said.passing(scope)):
        return "vague", f"it is told of one situation, or of now and then: {when!r}"
    return None


def _used(
    claim: Evidence,
    said: Said,
    offer: Offer,
    standing: Sequence[Evidence],
    quote: str,
    used: Sequence[tuple[Evidence, str]],
) -> Refusal:
    """One span supports one criterion of a disorder and system: by the quotes if known, else by counting clauses."""
    same = [
        e.criterion
        for e in standing
        if (e.disorder, e.sentence) == (claim.disorder, claim.sentence) and not _apart(e.criterion, claim, offer)
    ]
    if quote and (start := said.text.find(quote)) >= 0:
        for other, words in used:
            at = said.text.find(words)
            overlap = words and at >= 0 and at < start + len(quote) and start < at + len(words)
            same_place = (other.disorder, other.sentence) == (claim.disorder, claim.sentence)
            if overlap and same_place and not _apart(other.criterion, claim, offer):
                return "single_use", f"these words already count for {other.criterion}"
        return ("single_use", f"already held from s{claim.sentence}") if claim.criterion in same else None
    if claim.criterion in same or len(same) >= len(said.parts):
        return "single_use", f"s{claim.sentence} already counts for {', '.join(same)}"
    return None


def _apart(criterion: str, claim: Evidence, offer: Offer) -> bool:
    """Whether no system counts both criteria."""
    one, other = offer.criteria[criterion].sys, offer.criteria[claim.criterion].sys
    return None not in (one, other) and one != other


_COMPOUND = re.compile(r"\b(?:and|or|as well as|along with)\b|,")
_LEADING = re.compile(
    r"\b(?:isn't it|right\?|don't you|aren't you|haven't you|surely|you must|i suppose you|i bet|so you)\b"
)


def _asked_plainly(asked: str, said: Said, criterion: Criterion) -> bool:
    """Whether a yes answers one question that names this criterion, and no other thing, without leading."""
    questions = [part for part in re.split(r"(?<=[.!?])\s+", asked) if part.endswith("?")]
    if len(questions) != 1 or said.text.startswith(("no", "not", "nah", "never")):
        return False
    words = "|".join(map(re.escape, (*criterion.words, *criterion.about)))
    named = bool(words) and re.search(rf"\b(?:{words})", questions[0]) is not None
    return named and not _COMPOUND.search(questions[0]) and not _LEADING.search(questions[0])


def _fact(claim: Fact, said: Said, asked: str, offers: Mapping[str, Offer], clock: Clock) -> Refusal:
    spec = _spec(claim, offers)
    if spec is None:
        return "fact", f"{' and '.join(claim.disorders) or 'no disorder'} does not ask for {claim.name}"
    if isinstance(claim.value, bool) != (spec.type == "bool") or claim.value < 0:
        return "fact", f"{claim.name} is {'yes or no' if spec.type == 'bool' else 'a number from 0'}, not {claim.value}"
    if not spec.others and (somebody := said.somebody_else(said.parts)):
        return "experiencer", f"it is about {somebody!r}"
    if spec.type == "bool" and (doubt := said.unsure()):
        return "hypothetical", f"they ask or doubt it: {doubt!r}"
    ongoing = claim.name == "duration_days"
    if spec.unit and (why := clock.ungrounded(claim.value, spec.unit, said.text, ongoing=ongoing, loose=spec.loose)):
        return "grounding", why
    if ongoing and (when := said.over(said.parts)):
        return "past", f"it is past: {when!r}"
    plain_no = claim.value is False and spec.negatable and said.rules_out() and not said.answers
    plain_no = plain_no and not _of_another(claim, said, offers)
    if spec.cues and not plain_no and not any(cue.search(f"{said.text} {asked}") for cue in spec.cues):
        return "grounding", f"the sentence does not speak of it: {spec.meaning}"
    if claim.value is True and any(pattern.search(said.text) for pattern in spec.against):
        return "grounding", f"the sentence says less: {said.text}"
    if (
        claim.value is True
        and spec.negatable
        and (found := _cued(spec, said))
        and all(said.negations(found, said.clauses))
    ):
        return "negation", f"the sentence denies it: {said.text}"
    return None


def _of_another(claim: Fact, said: Said, offers: Mapping[str, Offer]) -> bool:
    """Whether the sentence has the cues of another fact that people deny: a no to drugs says nothing of mania."""
    specs = {name: spec for offer in offers.values() for name, spec in offer.facts.items() if spec.negatable}
    return any(name != claim.name and _cued(spec, said) for name, spec in specs.items())


def _cued(spec: FactSpec, said: Said) -> list[str]:
    return [match[0] for clause in said.clauses for cue in spec.cues for match in cue.finditer(clause)]
