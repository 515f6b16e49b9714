"""Risk, graded before and apart from diagnosis: the screen in code and the model's proposal, the higher wins.

A level once reached never drops within a dialogue; reasons for living and lighter moods lower nothing. A sentence that
a second reader cleared counts for that domain no longer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache

from clinical.patterns import Patterns
from clinical.schema import Domain, RiskTable, Rung
from clinical.sentence import normal
from psyllm.records import CRISIS_CONTACTS, MODES, SAFETY_MODES, Mode, Risk, Turn

RAISED = 2
"""The level from which a domain's `if_raised` patterns count."""


class Screen:
    """Reads sentences by the words of every domain; the same sentence is read once."""

    def __init__(self, domains: Mapping[str, Domain], patterns: Patterns) -> None:
        """`patterns` know those of these domains, see `patterns_of`."""
        self._domains = domains
        self._patterns = patterns
        self._concerned: dict[re.Pattern[str], list[str]] = {}
        for name, domain in domains.items():
            for pattern in patterns_of([domain]):
                self._concerned.setdefault(pattern, []).append(name)
        self._read = lru_cache(maxsize=16_384)(self._levels)

    def level(self, sentence: str, domain: str, standing: int = 0) -> int:
        """The level that a sentence raises by its words alone; `standing` is the level reached before it."""
        return self._read(sentence).get(domain, (0, 0))[standing >= RAISED]

    def _levels(self, sentence: str) -> dict[str, tuple[int, int]]:
        """Domain -> the level raised, by itself and once the domain has reached RAISED; none where no word counts."""
        text = normal(sentence)
        found = self._patterns.found(text)
        levels = {}
        for name in {name for pattern in found for name in self._concerned.get(pattern, ())}:
            domain, left = self._domains[name], text
            for figure in (*domain.idioms, *domain.denials):
                if left is not text or figure in found:
                    left = figure.sub(" ", left)
            here = found if left is text else self._patterns.found(left)
            levels[name] = (_highest(domain, here, raised=False), _highest(domain, here, raised=True))
        return levels


def patterns_of(domains: Iterable[Domain]) -> Iterator[re.Pattern[str]]:
    """All that a Screen looks for."""
    for domain in domains:
        yield from (*domain.idioms, *domain.denials)
        for rung in domain.levels:
            yield from (*rung.screen, *rung.if_raised, *rung.unless)


def _highest(domain: Domain, found: AbstractSet[re.Pattern[str]], *, raised: bool) -> int:
    for rung in reversed(domain.levels):
        patterns = rung.screen + (rung.if_raised if raised else ())
        if not found.isdisjoint(patterns) and found.isdisjoint(rung.unless):
            return rung.level
    return 0


def graver(one: Mode, other: Mode) -> Mode:
    """The more urgent of two modes."""
    return max(one, other, key=MODES.index)


def grade(
    screen: Screen,
    name: str,
    domain: Domain,
    proposed: Iterable[Risk],
    turns: Sequence[Turn],
    cleared: Collection[int] = (),
) -> Risk:
    """One domain after the last turn. A proposal that names no client sentence counts as level 1 at most.

    `cleared`: sentences that neither the screen nor a proposal may count; what an earlier turn reached stands.
    """
    grounds: list[tuple[int, tuple[int, ...]]] = []
    level = 0
    question = ""
    for turn in turns:
        for sentence in (sentence for sentence in turn.client if sentence.n not in cleared):
            found = screen.level(sentence.text, name, level)
            if sentence is turn.client[0] and question:
                found = max(found, _confirmed(domain, question, sentence.text))
            grounds.append((found, (sentence.n,)))
            level = max(level, found)
        question = _last_question(turn.reply.text) if turn.reply else ""
    spoken = {sentence.n for turn in turns for sentence in turn.client}
    top = len(domain.levels) - 1
    left = [risk for risk in proposed if not risk.sentences or not set(cleared).issuperset(risk.sentences)]
    for risk in (*(risk for turn in turns for risk in turn.risks), *left):
        if risk.domain == name:
            sentences = tuple(n for n in risk.sentences if n in spoken and n not in cleared)
            grounds.append((min(risk.level, top if sentences else 1), sentences))
    level = max((found for found, _ in grounds), default=0)
    where = {n for found, numbers in grounds if found == level > 0 for n in numbers}
    return Risk(domain=name, level=level, sentences=tuple(sorted(where)), mode=domain.levels[level].mode)


_YES = re.compile(
    r"(?:ok |well |um+ |oh )?(?:yes|yeah|yep|yup|aye|i do|i have|i am|it is|they are|sometimes|most (?:days|nights))\b"
    r"(?! but not| and no)"
)


def _confirmed(domain: Domain, question: str, answer: str) -> int:
    """The level that a yes to the counsellor's question raises."""
    if not _YES.match(normal(answer).replace(",", "")):
        return 0
    asked = (rung.level for rung in domain.levels for pattern in rung.asked if pattern.search(question))
    return max(asked, default=0)


@lru_cache(maxsize=1024)
def _last_question(reply: str) -> str:
    """The last question of a reply, normalised; '' without one."""
    said = re.split(r"(?<=[.!?])\s+", reply)
    return next((normal(sentence) for sentence in reversed(said) if "?" in sentence), "")


def worst(risks: Iterable[Risk]) -> Risk | None:
    """The most urgent risk: by mode, then by level."""
    return max(risks, key=lambda risk: (MODES.index(risk.mode), risk.level), default=None)


def protocol(table: RiskTable, risks: Sequence[Risk]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the reply must and must not do, (must, must_not); both empty in ordinary mode.

    A danger whose mode is held above its level is treated as the lowest level of that mode.
    """
    risk = worst(risks)
    if risk is None or risk.mode == "ordinary":
        return (), ()
    level = rung(table, risk)
    deeper = tuple(f"go deeper than {depth}" for mode, depth in table.depth.items() if mode == risk.mode)
    written = any(map(contacts_due, risks))
    live = f"write {CRISIS_CONTACTS} for live human help" if written else "say that live human help exists"
    return (*table.always.must, live, *level.must), table.always.must_not + level.must_not + deeper


def contacts_due(risk: Risk) -> bool:
    """Whether a reply has to name contacts: in danger, and in explore from level 2."""
    return risk.mode in SAFETY_MODES or (risk.mode == "explore" and risk.level >= 2)


def rung(table: RiskTable, risk: Risk) -> Rung:
    """The level of the ladder by which a risk is answered."""
    ladder = table.domains[risk.domain].levels[risk.level :]
    return next(each for each in ladder if MODES.index(each.mode) >= MODES.index(risk.mode))


def locked_classes(table: RiskTable, mode: Mode) -> frozenset[str]:
    """The technique classes that a mode or any milder one locks."""
    milder = MODES[: MODES.index(mode) + 1]
    return frozenset(name for m in milder for name in table.locks.get(m, ()))
