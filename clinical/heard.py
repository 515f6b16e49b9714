"""What some client words suggest, by the ids that a modality's indications and contraindications name.

heard = knowledge.heard(turns)
"suicide:3" in heard, "mdd" in heard, "loneliness" in heard

Cues in code decide, no model. They are built to miss little: a disorder that is heard is far from met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from clinical import cues, risk
from clinical.patterns import Patterns
from clinical.schema import Domain, Factor
from clinical.sentence import normal
from psyllm.records import Turn


class Heard:
    """Each disorder, factor and danger is listened for once, when it is first asked about."""

    def __init__(
        self,
        factors: Mapping[str, Factor],
        domains: Mapping[str, Domain],
        turns: Sequence[Turn],
        patterns: Patterns,
        owners: cues.Owners,
        screen: risk.Screen,
    ) -> None:
        words = [normal(sentence.text) for turn in turns for sentence in turn.client]
        cued = cues.hits(owners, words, patterns)

        @cache
        def named(name: str) -> bool:
            if name in factors:
                return cues.suggested(factors[name], words, patterns)
            return name in cued

        self._named = named
        self._level = cache(lambda name: risk.grade(screen, name, domains[name], (), turns).level)

    def __contains__(self, pointer: str) -> bool:
        """A disorder (mdd), a criterion (mdd.A1: heard like its disorder), a factor (loneliness), or a risk domain with
        the level from which it counts (suicide:3). A disorder of no loaded system is never heard."""
        name, _, level = pointer.partition(":")
        return self._level(name) >= int(level) if level else self._named(name.partition(".")[0])
