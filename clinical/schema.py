"""The shape of the YAML files: a Disorder a file in criteria/; facts, factors, relations, durations, risk, contacts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, PlainValidator, model_validator

from clinical.logic import Compare, Count, Leaf, Not, Rule, leaves, parse
from psyllm.records import Mode, System

SYSTEMS: tuple[System, ...] = ("dsm5tr", "icd11")
_SLUG = r"^[a-z][a-z0-9_]*$"


def _pattern(value: object) -> re.Pattern[str]:
    try:
        return re.compile(str(value))
    except re.error as error:
        raise ValueError(f"not a regular expression: {value!r}: {error}") from error


RuleField = Annotated[Leaf | Compare | Count | Not, PlainValidator(parse)]
"""A rule in the grammar of clinical/README.md."""
Pattern = Annotated[InstanceOf[re.Pattern[str]], BeforeValidator(_pattern)]
"""A regular expression over one sentence in lower case, with straight quotation marks."""
Verified = Literal["yes", "partly", "no"]
"""yes: codes checked by software and thresholds seen in a cited source. partly: some threshold from recall."""


class Matter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Criterion(Matter):
    id: str = Field(pattern=r"^[A-Z]\d+$")
    t: str
    """What it is, in the project's own words."""
    sys: System | None = None
    """The only system that knows it; none means both."""
    words: tuple[str, ...] = ()
    """Beginnings of words that name the symptom itself: with a negator before them they deny it."""
    about: tuple[str, ...] = ()
    """Beginnings of further words that place it in a sentence; a negator before them says nothing."""
    pervasive: bool = False
    """Whether it must hold for most of the time: "just now and then" does not carry it."""
    past: bool = False
    """Whether something long past can carry it."""
    others: bool = False
    """Whether a sentence about somebody else can carry it."""

    @cached_property
    def mention(self) -> re.Pattern[str] | None:
        """Any word that begins like one of its `words` or `about`; none when it has neither."""
        beginnings = "|".join(map(re.escape, (*self.words, *self.about)))
        return re.compile(rf"\b(?:{beginnings})") if beginnings else None


class Exclusion(Matter):
    id: str = Field(pattern=_SLUG)
    when: RuleField
    effect: Literal["contradict", "downgrade"] = "contradict"
    redirect: str = ""
    """Where a true exclusion points to."""
    if_unknown: Literal["provisional", "ignore"]


def _listed(value: object) -> object:
    return {k: (v,) if isinstance(v, str) else v for k, v in value.items()} if isinstance(value, dict) else value


class Course(Matter):
    """Codes of one course of a disorder, by level."""

    name: str = ""
    when: RuleField | None = None
    """None: the course that is left when no other holds."""
    codes: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_listed)]
    """Level -> codes; `unspecified` when no level is decided."""


class Block(Matter):
    """One disorder as one system knows it."""

    name: str
    codes: tuple[str, ...] = Field(min_length=1)
    """Codes of a current state, which a finding may carry."""
    more_codes: tuple[str, ...] = ()
    """Codes of the same entity that a verdict never means (remission, a single episode of use)."""
    more_when: RuleField | None = None
    """What must be known for one of `more_codes` to fit; none means that nothing said here can ground them."""
    levels: dict[str, RuleField] = {}
    """Severity or presentation, as far as facts decide it: the first that is true."""
    courses: tuple[Course, ...] = ()
    """The first whose `when` is true gives the codes; none means that every one of `codes` is given."""
    factor: bool = False
    """Whether the system lists it outside the disorders: a reaction, never worded as a disorder."""
    symptoms: RuleField
    context: RuleField
    exclusions: tuple[Exclusion, ...] = ()

    def leaves(self) -> Iterator[Leaf | Compare]:
        for _, rule in self.rules():
            yield from leaves(rule)

    def rules(self) -> Iterator[tuple[tuple[str | int, ...], Rule]]:
        """Every rule with its place in the file, symptoms, context and exclusions first."""
        yield ("symptoms",), self.symptoms
        yield ("context",), self.context
        yield from ((("exclusions", i, "when"), x.when) for i, x in enumerate(self.exclusions))
        if self.more_when is not None:
            yield ("more_when",), self.more_when
        yield from ((("levels", name), rule) for name, rule in self.levels.items())
        yield from ((("courses", i, "when"), c.when) for i, c in enumerate(self.courses) if c.when is not None)


class Disorder(Matter):
    id: str = Field(pattern=_SLUG)
    scope: str
    """What a duration must be the duration of."""
    aliases: tuple[str, ...] = ()
    """Further names that must not reach a client."""
    lay_labels: tuple[str, ...] = ()
    """Beginnings of words by which people label themselves: a label is no symptom."""
    common: bool = False
    """Whether it is shortlisted when nothing else is heard."""
    cues: tuple[Pattern, ...] = Field(min_length=1)
    """Words that put it on the shortlist: recall first, they decide nothing."""
    nearest_icd10cm: tuple[str, ...] = ()
    """The nearest ICD-10-CM codes where DSM-5-TR has no such entity."""
    criteria: tuple[Criterion, ...] = Field(min_length=1)
    dsm5tr: Block | None = None
    icd11: Block | None = None
    source: tuple[str, ...]
    """Keys of the list of sources in clinical/README.md."""
    verified: Verified

    @cached_property
    def mentions(self) -> tuple[re.Pattern[str], ...]:
        """Those of its criteria that have words."""
        return tuple(criterion.mention for criterion in self.criteria if criterion.mention)

    def blocks(self) -> dict[System, Block]:
        """The systems that know this disorder."""
        both: dict[System, Block | None] = {"dsm5tr": self.dsm5tr, "icd11": self.icd11}
        return {system: block for system, block in both.items() if block is not None}


class FactSpec(Matter):
    type: Literal["bool", "number"]
    meaning: str
    label: str
    """How it is called in a verdict's `why`."""
    ask: str
    """The question that would settle it."""
    default: bool | None = None
    """What holds as long as nobody mentions it; none means unknown."""
    unit: Literal["days", "months", "years", "minutes", "per_week", "percent"] | None = None
    """Of a number: the sentence must then hold a number or a word for a length of time."""
    loose: bool = False
    """Whether a shorter time than the one named is grounded too."""
    about: Literal["disorder", "person"] = "disorder"
    """A fact about the person counts for every disorder that asks for it."""
    others: bool = False
    """Whether a sentence about somebody else can carry it."""
    cues: tuple[Pattern, ...] = ()
    """One of these must be found in the sentence, or in the question to which it says yes or no."""
    against: tuple[Pattern, ...] = ()
    """None of these may be found in a sentence that makes it true."""
    negatable: bool = False
    """Whether a negator before every cue keeps the sentence from making it true."""


class Factor(Matter):
    """What is no disorder and may still deserve care."""

    name: str
    icd10cm: tuple[str, ...]
    icd11: tuple[str, ...]
    say: str = ""
    """How it may be worded without a label."""
    cues: tuple[Pattern, ...] = ()
    """One of these suggests it."""
    all_of: tuple[tuple[Pattern, ...], ...] = ()
    """Of each part one must be heard somewhere."""
    note: str = ""
    verified: Verified


class Exclusive(Matter):
    """Two disorders that one person does not have in the same period."""

    a: str
    b: str
    keep: str
    systems: tuple[System, ...] = SYSTEMS
    when: RuleField | None = None
    """On the facts of `keep`; none means always."""


class Span(Matter):
    """A vague length of time as a number."""

    ge: float | None = None
    gt: float | None = None
    grey_from: float | None = None


class Relations(Matter):
    """relations.yaml."""

    disorders: tuple[str, ...]
    """Names that may be pointed at even where their file was deleted."""
    mutually_exclusive: tuple[Exclusive, ...]
    may_coexist: tuple[tuple[str, str], ...]
    redirect_targets: tuple[str, ...]
    operationalisations: dict[str, Span]


class Phrase(Matter):
    """Words for a length of time that name no number."""

    words: Pattern
    days: float = Field(gt=0)
    """The fewest days that they can mean."""
    most: float | None = None
    """The most; none means `factor` times as many."""


class Durations(Matter):
    """durations.yaml."""

    units: dict[str, float]
    """Unit, in the singular -> days."""
    numbers: dict[str, float]
    phrases: tuple[Phrase, ...]
    none: tuple[Pattern, ...]
    """Words for time that give no number."""
    factor: float = Field(ge=1)


class Rung(Matter):
    """One level of a risk domain."""

    level: int = Field(ge=0, le=6)
    name: str
    mode: Mode
    cues: tuple[str, ...]
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    ask: tuple[Pattern, ...] = ()
    """In the turn that reaches this level, a question of the reply must hold one of these."""
    say: tuple[Pattern, ...] = ()
    """In the turn that reaches this level, the reply must hold one of these."""
    screen: tuple[Pattern, ...] = ()
    """Words that raise this level by themselves."""
    asked: tuple[Pattern, ...] = ()
    """Words of a counsellor's question: a message that begins with a yes to it raises this level."""
    if_raised: tuple[Pattern, ...] = ()
    """Words that raise this level only after the domain has reached level 2."""
    unless: tuple[Pattern, ...] = ()
    """Words that keep this level's patterns from counting in a sentence."""


class Domain(Matter):
    verified: Verified
    idioms: tuple[Pattern, ...] = ()
    """Figures of speech, cut out before the screen reads a sentence."""
    denials: tuple[Pattern, ...] = ()
    """Plain denials, cut out likewise."""
    never: tuple[Pattern, ...] = ()
    """Words that no reply may hold, unnegated, while this domain is above level 0."""
    levels: tuple[Rung, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ladder(self) -> Domain:
        found = [rung.level for rung in self.levels]
        if found != list(range(len(found))):
            raise ValueError(f"levels must count up from 0, not {found}")
        return self


class Always(Matter):
    must: tuple[str, ...]
    must_not: tuple[str, ...]
    never: tuple[Pattern, ...] = ()
    """Words that no reply may hold, unnegated, in any mode but ordinary."""


class RiskTable(Matter):
    """risk.yaml."""

    always: Always
    """Asked of every reply at a level above 0."""
    technique_classes: tuple[str, ...]
    """Every class that a technique may declare and a lock may name."""
    depth: dict[Mode, str] = {}
    """The deepest that a reply may go in a mode."""
    locks: dict[Mode, tuple[str, ...]]
    """Technique classes that a mode locks, with those of every milder mode."""
    domains: dict[str, Domain] = Field(min_length=1)


class Contact(Matter):
    where: str
    name: str
    reach: str
    """How to reach it."""
    checked: str
    """unverified, or the date of the last check."""


class ContactTable(Matter):
    """contacts.yaml."""

    contacts: tuple[Contact, ...] = Field(min_length=1)
