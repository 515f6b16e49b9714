"""The verdict on one disorder in one system, from accepted evidence and facts alone.

Order: an exclusion that holds contradicts; false symptoms or context contradict; symptoms not yet reached are
insufficient; an unknown context or must-ask exclusion, or a downgrade, is provisional; otherwise met. `settle` then
keeps one of two that exclude each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from clinical import coding
from clinical.logic import About, Compare, Count, Leaf, Not, Rule, Truth, Value, evaluate, leaves
from clinical.schema import Block, Disorder, Exclusion, Exclusive, FactSpec
from psyllm.records import Evidence, Fact, Finding, System, Verdict

MAX_QUESTIONS = 4
_OPS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


@dataclass(frozen=True)
class Known:
    """What is known about one disorder."""

    held: Mapping[str, bool]
    """Criterion -> asserted (True) or denied (False)."""
    facts: Mapping[str, Value]
    specs: Mapping[str, FactSpec]

    def truth(self, rule: Rule) -> Truth:
        return evaluate(rule, self.held, self.facts)


@dataclass(frozen=True)
class Ruling:
    """A finding, where a contradicted one points to, and what was known."""

    finding: Finding
    redirect: str
    known: Known
    block: Block

    @property
    def open(self) -> bool:
        """Whether it is met or provisional."""
        return self.finding.verdict in ("met", "provisional")

    def code_status(self, code: str, others: Iterable[str]) -> coding.Status:
        """How a proposed code stands to this ruling."""
        more = self.block.more_when
        return coding.status(
            code,
            self.finding.system,
            self.block,
            _courses(self.block, self.known),
            _levels(self.block, self.known),
            self.known.truth(more) if more is not None else None,
            self.finding.verdict,
            others,
        )


def known(
    disorder: Disorder, evidence: Sequence[Evidence], facts: Sequence[Fact], specs: Mapping[str, FactSpec]
) -> Known:
    """The later sentence wins; within one sentence an assertion over a denial, and the smaller value of a fact."""
    claims = [e for e in evidence if e.disorder == disorder.id]
    claims.sort(key=lambda e: (e.sentence, e.polarity == "asserts"))
    stated = [f for f in facts if not f.disorders or disorder.id in f.disorders]
    stated.sort(key=lambda f: (f.sentence, -f.value))
    defaults: dict[str, Value] = {name: spec.default for name, spec in specs.items() if spec.default is not None}
    return Known(
        held={e.criterion: e.polarity == "asserts" for e in claims},
        facts=defaults | {f.name: About(f.value) if f.approx else f.value for f in stated},
        specs=specs,
    )


def relaxed(block: Block) -> Block:
    """The block of short texts: a substance or an illness that nobody asked about weakens nothing."""
    exclusions = tuple(
        each.model_copy(update={"if_unknown": "ignore"}) if each.id in ("substance", "medical") else each
        for each in block.exclusions
    )
    return block.model_copy(update={"exclusions": exclusions})


def judge(disorder: Disorder, system: System, block: Block, now: Known) -> Ruling:
    """The ruling on one disorder in one system."""
    verdict, excluded = _verdict(block, now)
    gaps = () if verdict in ("met", "contradicted") else tuple(_questions(disorder, block, now))
    order = [criterion.id for criterion in disorder.criteria if criterion.sys in (None, system)]
    codes = coding.given(block, _courses(block, now), _levels(block, now))
    finding = Finding(
        disorder=disorder.id,
        name=block.name,
        system=system,
        verdict=verdict,
        codes=codes if verdict in ("met", "provisional") else (),
        held=tuple(c for c in order if now.held.get(c) is True),
        denied=tuple(c for c in order if now.held.get(c) is False),
        why="; ".join(_why(block, verdict, now, excluded)),
        questions=gaps[:MAX_QUESTIONS],
    )
    return Ruling(finding, excluded.redirect if excluded else "", now, block)


def settle(rulings: Sequence[Ruling], pairs: Iterable[Exclusive]) -> tuple[Ruling, ...]:
    """Of two open rulings that exclude each other in a system, the one that the first fitting rule keeps."""
    found = {(r.finding.disorder, r.finding.system): r for r in rulings}
    for pair in pairs:
        for system in pair.systems:
            a, b = found.get((pair.a, system)), found.get((pair.b, system))
            if a is None or b is None or not (a.open and b.open):
                continue
            kept, gone = (a, b) if pair.keep == pair.a else (b, a)
            if pair.when is None or kept.known.truth(pair.when):
                found[gone.finding.disorder, system] = _given_way(gone, kept)
    return tuple(found.values())


def _given_way(gone: Ruling, kept: Ruling) -> Ruling:
    why = f"{gone.finding.why}; gives way to {kept.finding.name} ({kept.finding.verdict})"
    changed = {"verdict": "contradicted", "codes": (), "questions": (), "why": why}
    return replace(gone, finding=gone.finding.model_copy(update=changed), redirect=kept.finding.disorder)


def _courses(block: Block, now: Known) -> tuple[Truth, ...]:
    return tuple(None if course.when is None else now.truth(course.when) for course in block.courses)


def _levels(block: Block, now: Known) -> tuple[Truth, ...]:
    return tuple(now.truth(rule) for rule in block.levels.values())


def _verdict(block: Block, now: Known) -> tuple[Verdict, Exclusion | None]:
    downgraded = False
    for exclusion in block.exclusions:
        truth = now.truth(exclusion.when)
        if truth and exclusion.effect == "contradict":
            return "contradicted", exclusion
        downgraded |= truth is True or (truth is None and exclusion.if_unknown == "provisional")
    symptoms, context = now.truth(block.symptoms), now.truth(block.context)
    if symptoms is False or context is False:
        return "contradicted", None
    if symptoms is None:
        return "insufficient", None
    return ("provisional" if context is None or downgraded else "met"), None


# ---------------------------------------------------------------- why


def _why(block: Block, verdict: Verdict, now: Known, excluded: Exclusion | None) -> Iterator[str]:
    """Only what decides: the count of symptoms, then the exclusion, the false, the unknown, whichever comes first."""
    yield from _symptoms(block.symptoms, now)
    if excluded is not None:
        yield f"excluded by {excluded.id}" + (f" (points to {excluded.redirect})" if excluded.redirect else "")
        return
    context = {part: now.truth(part) for part in _parts(block.context)}
    if verdict == "contradicted":
        yield from (
            _stated(test, now) for part, truth in context.items() if truth is False for test in _known(part, now)
        )
        return
    for part in (part for part, truth in context.items() if truth is None):
        yield from (f"{_stated(test, now)} leaves it open" for test in _known(part, now))
    if silent := [label for part, truth in context.items() if truth is None and (label := _silent(part, now))]:
        yield f"{', '.join(silent)} not stated"
    if verdict == "provisional":
        must_ask = [x.when for x in block.exclusions if x.if_unknown == "provisional" and now.truth(x.when) is None]
        if open_doubts := [label for rule in must_ask if (label := _silent(rule, now))]:
            yield f"{', '.join(open_doubts)} not ruled out"
        yield from (f"weakened by {x.id}" for x in block.exclusions if x.effect == "downgrade" and now.truth(x.when))


def _symptoms(rule: Rule, now: Known) -> Iterator[str]:
    """The counted parts, then the held, silent and denied single ones."""
    counted: set[str] = set()
    single: dict[Truth, dict[str, None]] = {True: {}, None: {}, False: {}}
    for part in _parts(rule):
        truth = now.truth(part)
        if isinstance(part, Count) and part.n > 1 and not part.needs_all:
            true = [each for each in part.of if now.truth(each)]
            held = list(dict.fromkeys(name for each in true for name in _asserted(each, now)))
            counted.update(held)
            score = f"{len(true)} of {part.n} symptoms held"
            if len(true) > part.n:
                score = f"{len(true)} symptoms held, {part.n} needed"
            yield score + (f" ({', '.join(held)})" if held else "")
        else:
            single[truth].update(dict.fromkeys(_asserted(part, now) if truth else [_name(part)]))
    for truth, said in ((True, "held"), (None, "not stated"), (False, "denied")):
        if names := [name for name in single[truth] if name not in counted]:
            yield f"{', '.join(names)} {said}"


def _asserted(rule: Rule, now: Known) -> list[str]:
    return [leaf.id for leaf in leaves(rule) if isinstance(leaf, Leaf) and now.held.get(leaf.id)]


def _known(rule: Rule, now: Known) -> list[Compare]:
    """The tests of a rule on facts that are stated and do not fulfil it; one a fact, the last."""
    tests = [leaf for leaf in leaves(rule) if isinstance(leaf, Compare)]
    return list({t.fact: t for t in tests if t.fact in now.facts and now.truth(t) is not True}.values())


def _silent(rule: Rule, now: Known) -> str:
    """The facts of a rule that nobody stated, by their labels."""
    facts = [leaf.fact for leaf in leaves(rule) if isinstance(leaf, Compare) and leaf.fact not in now.facts]
    return " or ".join(dict.fromkeys(now.specs[fact].label for fact in facts))


def _stated(test: Compare, now: Known) -> str:
    spec, value = now.specs[test.fact], now.facts[test.fact]
    if test.op == "is":
        return f"{spec.label}: {'yes' if value else 'no'}"
    return f"{spec.label} {value:g} {spec.unit or ''}".rstrip() + f", {_OPS[test.op]} {test.value:g} needed"


def _name(rule: Rule) -> str:
    match rule:
        case Leaf(id):
            return id
        case Compare(fact):
            return fact
        case Not(of):
            return f"not {_name(of)}"
        case Count(_, of):
            return ("+" if rule.needs_all else "/").join(map(_name, of))


def _parts(rule: Rule) -> tuple[Rule, ...]:
    return rule.of if isinstance(rule, Count) and rule.needs_all else (rule,)


# ---------------------------------------------------------------- questions


def _questions(disorder: Disorder, block: Block, now: Known) -> Iterator[str]:
    """First what a missing symptom part could still hold, then facts, then must-ask exclusions."""
    texts = {criterion.id: criterion.t for criterion in disorder.criteria}
    missing = [part for part in _parts(block.symptoms) if now.truth(part) is None]
    open_leaves = dict.fromkeys(leaf.id for part in missing for leaf in leaves(part) if isinstance(leaf, Leaf))
    for criterion in [c for c in open_leaves if c not in now.held][:2]:
        yield f"not heard yet: {texts[criterion]}"
    must_ask = [x.when for x in block.exclusions if x.if_unknown == "provisional"]
    asked: dict[str, None] = {}
    for rule in (*_parts(block.context), *must_ask):
        if now.truth(rule) is None:
            gap = next((leaf for leaf in leaves(rule) if isinstance(leaf, Compare) and now.truth(leaf) is None), None)
            if gap is not None:
                asked[now.specs[gap.fact].ask] = None
    yield from asked
