"""What the client's words point at, before any claim: the shortlist of disorders, and factors that are no disorder.

Cue words are built to miss little. They decide nothing; they choose which criteria a model is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from clinical.patterns import Patterns
from clinical.schema import Disorder, Factor
from clinical.sentence import normal
from psyllm.records import Finding, System, Turn

MOST = 6
"""Disorders on a shortlist, at most."""
FIRST, LATER = 4, 2
"""Disorders that the first and a later turn may add, at most, so that early words do not take every place."""
FEWEST = 4
"""Disorders that are on the list from the first turn on: its free places go to weak cues, then to common disorders."""


Owners = Mapping[re.Pattern[str], Sequence[tuple[str, int]]]
"""A cue -> the disorders that have it, with its place among their cues."""


def owners(disorders: Iterable[Disorder]) -> Owners:
    found: dict[re.Pattern[str], list[tuple[str, int]]] = {}
    for disorder in disorders:
        for place, cue in enumerate(disorder.cues):
            found.setdefault(cue, []).append((disorder.id, place))
    return found


def patterns_of(disorders: Iterable[Disorder], factors: Iterable[Factor]) -> Iterator[re.Pattern[str]]:
    """All that this module looks for."""
    for disorder in disorders:
        yield from disorder.cues
        yield from disorder.mentions
    for factor in factors:
        yield from factor.cues
        yield from (pattern for part in factor.all_of for pattern in part)


def shortlist(
    disorders: Mapping[str, Disorder],
    systems: Sequence[System],
    turns: Sequence[Turn],
    patterns: Patterns,
    owners: Owners,
) -> tuple[str, ...]:
    """The disorders that the words so far point at, strongest first within a turn; a later turn only adds.

    A turn's own evidence and facts, which come of its list, count from the next turn on: what they name, and the
    redirect of an exclusion that a fact made true, comes first there.
    """
    listed: list[str] = []
    heard: dict[str, set[int]] = {name: set() for name in disorders}
    for number, turn in enumerate(turns):
        words = [normal(sentence.text) for sentence in turn.client]
        new = {name: found - heard[name] for name, found in hits(owners, words, patterns).items()}
        for name, found in new.items():
            heard[name] |= found
        pointed = _pointed(disorders, systems, listed, turns[number - 1]) if number else []
        cued = sorted((name for name in disorders if new.get(name)), key=lambda name: -len(heard[name]))
        room = LATER if number else FIRST
        for name in [*dict.fromkeys(pointed), *cued]:
            if name in disorders and name not in listed and (room > 0 or name in pointed):
                listed.append(name)
                room -= 1
        if len(listed) < FEWEST:
            listed += [name for name in _weakly(disorders, words, patterns) if name not in listed][
                : FEWEST - len(listed)
            ]
    return tuple(listed[:MOST])


def hits(owners: Owners, sentences: Iterable[str], patterns: Patterns) -> dict[str, set[int]]:
    """Disorder -> which of its cues stand in normalised sentences."""
    found: dict[str, set[int]] = {}
    for text in sentences:
        for pattern in patterns.found(text):
            for name, place in owners.get(pattern, ()):
                found.setdefault(name, set()).add(place)
    return found


def _weakly(disorders: Mapping[str, Disorder], sentences: Sequence[str], patterns: Patterns) -> list[str]:
    """Those of which two criteria or more share a word with the sentences, most first, and the common ones."""
    found = patterns.found(" ".join(sentences))
    shared = {name: sum(mention in found for mention in disorder.mentions) for name, disorder in disorders.items()}
    named = [name for name, disorder in disorders.items() if shared[name] > 1 or disorder.common]
    return sorted(named or list(disorders)[:1], key=lambda name: (-shared[name], not disorders[name].common))


def _pointed(
    disorders: Mapping[str, Disorder], systems: Sequence[System], listed: Sequence[str], turn: Turn
) -> list[str]:
    return [e.disorder for e in turn.evidence] + list(_redirects(disorders, systems, listed, turn))


def _redirects(
    disorders: Mapping[str, Disorder], systems: Sequence[System], listed: Sequence[str], turn: Turn
) -> Iterable[str]:
    """Where the listed disorders point to by a fact of this turn that makes one of their exclusions true."""
    true = {fact.name for fact in turn.facts if fact.value is True}
    for name in listed:
        for system, block in disorders[name].blocks().items():
            if system in systems:
                for exclusion in block.exclusions:
                    if exclusion.redirect in disorders and getattr(exclusion.when, "fact", "") in true:
                        yield exclusion.redirect


def factors(
    table: Mapping[str, Factor], turns: Sequence[Turn], findings: Sequence[Finding], patterns: Patterns
) -> tuple[str, ...]:
    """Factors suggested by words, by a raised risk, or by the lack of any open verdict, in the order of the file."""
    words = [normal(sentence.text) for turn in turns for sentence in turn.client]
    raised = {risk.domain for turn in turns for risk in turn.risks if risk.level > 0}
    found = {name for name, factor in table.items() if suggested(factor, words, patterns)}
    if raised & {"suicide", "self_harm"}:
        found.add("suicidality_code")
    if not any(finding.verdict in ("met", "provisional") for finding in findings):
        found.add("no_diagnosis")
    return tuple(name for name in table if name in found)


def suggested(factor: Factor, words: Sequence[str], patterns: Patterns) -> bool:
    """Whether the factor's cues stand in normalised sentences; one without cues never is."""

    def heard(cues: Iterable[re.Pattern[str]]) -> bool:
        return any(not patterns.found(text).isdisjoint(cues) for text in words)

    if factor.all_of:
        return all(heard(part) for part in factor.all_of)
    return heard(factor.cues)
