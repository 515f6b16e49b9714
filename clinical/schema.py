"""The shape of the YAML files: one Disorder a file in criteria/, the facts, the ladders of risk, the contacts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, PlainValidator, model_validator

from clinical.logic import Compare, Count, Leaf, Not, leaves, parse
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
    past: bool = False
    """Whether something long past can carry it."""
    others: bool = False
    """Whether a sentence about somebody else can carry it."""


class Exclusion(Matter):
    id: str = Field(pattern=_SLUG)
    when: RuleField
    effect: Literal["contradict", "downgrade"] = "contradict"
    redirect: str = ""
    """Where a true exclusion points to."""
    if_unknown: Literal["provisional", "ignore"]


class Block(Matter):
    """One disorder as one system knows it."""

    name: str
    codes: tuple[str, ...] = Field(min_length=1)
    """Codes of a current state, which a finding may carry."""
    more_codes: tuple[str, ...] = ()
    """Codes of the same entity that a verdict never means (remission, a single episode of use)."""
    symptoms: RuleField
    context: RuleField
    exclusions: tuple[Exclusion, ...] = ()

    def leaves(self) -> Iterator[Leaf | Compare]:
        for rule in (self.symptoms, self.context, *(exclusion.when for exclusion in self.exclusions)):
            yield from leaves(rule)


class Disorder(Matter):
    id: str = Field(pattern=_SLUG)
    scope: str
    """What a duration must be the duration of."""
    aliases: tuple[str, ...] = ()
    """Further names that must not reach a client."""
    lay_labels: tuple[str, ...] = ()
    """Beginnings of words by which people label themselves: a label is no symptom."""
    criteria: tuple[Criterion, ...] = Field(min_length=1)
    dsm5tr: Block | None = None
    icd11: Block | None = None
    source: tuple[str, ...]
    """Keys of the list of sources in clinical/README.md."""
    verified: Verified

    def blocks(self) -> dict[System, Block]:
        """The systems that know this disorder."""
        both: dict[System, Block | None] = {"dsm5tr": self.dsm5tr, "icd11": self.icd11}
        return {system: block for system, block in both.items() if block is not None}

    @model_validator(mode="after")
    def _rules_name_criteria(self) -> Disorder:
        known = {criterion.id: criterion for criterion in self.criteria}
        if len(known) < len(self.criteria):
            raise ValueError("two criteria share an id")
        if not self.blocks():
            raise ValueError("neither dsm5tr nor icd11")
        for system, block in self.blocks().items():
            for leaf in block.leaves():
                if isinstance(leaf, Leaf) and leaf.id not in known:
                    raise ValueError(f"{system} names the criterion {leaf.id}, which is not listed")
                if isinstance(leaf, Leaf) and known[leaf.id].sys not in (None, system):
                    raise ValueError(f"{system} names the criterion {leaf.id}, which belongs to {known[leaf.id].sys}")
        return self


class FactSpec(Matter):
    type: Literal["bool", "number"]
    meaning: str
    label: str
    """How it is called in a verdict's `why`."""
    ask: str
    """The question that would settle it."""
    default: bool | None = None
    """What holds as long as nobody mentions it; none means unknown."""
    unit: Literal["days", "months"] | None = None
    """Of a length of time: the sentence must then hold a number or a word for a duration."""
    about: Literal["disorder", "person"] = "disorder"
    """A fact about the person counts for every disorder that asks for it."""
    others: bool = False
    """Whether a sentence about somebody else can carry it."""
    cues: tuple[Pattern, ...] = ()
    """One of these must be found in the sentence, or in the question to which it says yes or no."""


class Rung(Matter):
    """One level of a risk domain."""

    level: int = Field(ge=0, le=6)
    name: str
    mode: Mode
    cues: tuple[str, ...]
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    screen: tuple[Pattern, ...] = ()
    """Words that raise this level by themselves."""
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


class RiskTable(Matter):
    """risk.yaml."""

    always: Always
    """Asked of every reply at a level above 0."""
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
