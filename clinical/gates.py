"""Evidence gates: what a proposed claim must pass before the engine counts it. Own rules on one sentence; no model.

    evidence: sentence, criterion, single_use, then label, negation, experiencer, hypothetical, past
    fact:     sentence, fact, single_use, experiencer, hypothetical, grounding

They stop what is clearly wrong and let the rest pass: what a sentence means is the diagnostician's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clinical.durations import ungrounded
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
    claims: Sequence[Evidence | Fact], turns: Sequence[Turn], offers: Mapping[str, Offer]
) -> tuple[tuple[Evidence, ...], tuple[Fact, ...], tuple[Dropped, ...]]:
    """New claims against all turns so far -> accepted evidence, accepted facts, and what was refused and why."""
    heard = _heard(turns)
    evidence: list[Evidence] = []
    facts: list[Fact] = []
    dropped: list[Dropped] = []
    for proposed in claims:
        claim = _bound(proposed, offers)
        refusal: Refusal
        if claim.sentence not in heard:
            refusal = "sentence", f"the client has not said a sentence s{claim.sentence}"
        elif isinstance(claim, Evidence):
            standing = [*(e for turn in turns for e in turn.evidence), *evidence]
            refusal = _evidence(claim, heard[claim.sentence][0], offers, standing)
        else:
            refusal = _fact(claim, *heard[claim.sentence], offers)
            if refusal is None and claim in [*(f for turn in turns for f in turn.facts), *facts]:
                refusal = "single_use", f"already held from s{claim.sentence}"
        if refusal is not None:
            dropped.append(Dropped(claim=proposed, gate=refusal[0], why=refusal[1]))
        elif isinstance(claim, Evidence):
            evidence.append(claim)
        else:
            facts.append(claim)
    return tuple(evidence), tuple(facts), tuple(dropped)


def _heard(turns: Sequence[Turn]) -> dict[int, tuple[Said, str]]:
    """Sentence number -> the sentence, and the counsellor's words before it when it answers them with a yes or no."""
    heard = {}
    asked = ""
    for turn in turns:
        for sentence in turn.client:
            said = Said.of(sentence.text)
            heard[sentence.n] = said, asked if said.answers else ""
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


def _evidence(claim: Evidence, said: Said, offers: Mapping[str, Offer], standing: Sequence[Evidence]) -> Refusal:
    offer = offers.get(claim.disorder)
    if offer is None or claim.criterion not in offer.criteria:
        return "criterion", f"there is no criterion {claim.disorder}.{claim.criterion}"
    same = [e.criterion for e in standing if (e.disorder, e.sentence) == (claim.disorder, claim.sentence)]
    if claim.criterion in same or len(same) >= len(said.clauses):
        return "single_use", f"s{claim.sentence} already counts for {', '.join(same)}"
    criterion = offer.criteria[claim.criterion]
    negations = said.negations(criterion.words)
    if claim.polarity == "denies":
        plain = negations and not any(negations) and not said.answers
        return ("negation", f"the sentence asserts it: {said.text}") if plain else None
    if label := said.only_label(label for each in offers.values() for label in each.disorder.lay_labels):
        return "label", f"{label!r} is a label, not a symptom"
    if said.bare_answer:
        return "negation", "a bare yes or no asserts nothing in their own words"
    if negations and all(negations):
        return "negation", f"the sentence denies it: {said.text}"
    if not criterion.others and (somebody := said.somebody_else()):
        return "experiencer", f"it is about {somebody!r}"
    if (doubt := said.unsure()) or said.supposed():
        return "hypothetical", f"it is supposed or doubted, not told{f': {doubt!r}' if doubt else ''}"
    if not criterion.past and (when := said.over()):
        return "past", f"it is past: {when!r}"
    return None


def _fact(claim: Fact, said: Said, asked: str, offers: Mapping[str, Offer]) -> Refusal:
    spec = _spec(claim, offers)
    if spec is None:
        return "fact", f"{' and '.join(claim.disorders) or 'no disorder'} does not ask for {claim.name}"
    if isinstance(claim.value, bool) != (spec.type == "bool") or claim.value < 0:
        return "fact", f"{claim.name} is {'yes or no' if spec.type == 'bool' else 'a number from 0'}, not {claim.value}"
    if not spec.others and (somebody := said.somebody_else()):
        return "experiencer", f"it is about {somebody!r}"
    if spec.type == "bool" and (doubt := said.unsure()):
        return "hypothetical", f"they ask or doubt it: {doubt!r}"
    if spec.unit and (why := ungrounded(claim.value, spec.unit, said.text)):
        return "grounding", why
    if spec.cues and not any(cue.search(f"{said.text} {asked}") for cue in spec.cues):
        return "grounding", f"the sentence does not speak of it: {spec.meaning}"
    return None
