"""Whether a sentence grounds a number: "for about two months" grounds 60 days, not 600. Words: durations.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from clinical.schema import Durations

_UPCOMING = re.compile(
    r"(?:'s|\b(?:is|are|due|starts?|until|till)) (?:in|within) (?:[\w]+ ){1,3}(?:day|week|month|year)s?\b"
    r"|\b[\w-]+ (?:day|week|fortnight|month|year)s? from (?:now|today)\b"
    r"|(?:'re|'m|'s|\b(?:are|am|is)) \w+ing(?: \w+){0,4} in (?:\w+ ){0,2}(?:day|week|fortnight|month|year)s?\b"
    r"|\b(?:give it|wait|need|in) another (?:\w+ )?(?:day|week|fortnight|month|year)s?\b"
)
_OF_ELSE = re.compile(  # a clause whose length of time belongs to something else
    r"\b(?:i|we)(?:'ve| have)? (?:worked|lived|studied|dated|known|been (?:married|together|here|at|dating|clean))\b"
    r"|\b(?:sober|late|old|pregnant|marriage|relationship|contract|lease|course|trip|flight|notice|trial)\b"
)
_CLAUSE = re.compile(r"[,;:!?]+|\.(?!\d)|\b(?:and|but|so|because|while|though|although)\b")
_TIME = re.compile(
    r"\d|\b(?:yesterday|today|tonight|since|ago|until|till|ever|always|child\w*|kid|school|college|uni|teens?|\w+ties"
    r"|hours?|days?|nights?|weeks?|fortnight|months?|years?|decades?|spring|summer|autumn|fall|winter|christmas|easter"
    r"|january|february|march|april|may|june|july|august|september|october|november|december|new year"
    r"|monday|tuesday|wednesday|thursday|friday|saturday|sunday|birthday)\b"
)
_HEDGED = re.compile(
    r"\b(?:about|around|roughly|approximately|nearly|almost|close to|going on|coming up to)(?: an?)? $"
)
_VAGUE_AFTER = re.compile(r",? ?(?:or so|give or take|more or less|roughly|ish)\b")
_ONE_DAY = re.compile(r"(?<!since )(?<!since last )\b(?:yesterday|today|tonight|last night)\b")
_RATE = re.compile(r"\b[\w-]+ (?:days?|nights?|times?|hours?) (?:a|per|each|every) (?:day|night|week|month|year)\b")
_BEGAN = re.compile(
    r"\b(?:start\w*|beg[aiu]n\w*|since|came (?:on|back)|set in|kicked in|noticed|first|been|hit me|ever after)\b"
)


@dataclass(frozen=True)
class Clock:
    """Reads lengths of time in a normalised sentence."""

    table: Durations

    def ungrounded(self, value: float, unit: str, text: str, *, ongoing: bool = False, loose: bool = False) -> str:
        """Why a sentence does not ground `value`, in `unit`; empty when it does.

        `ongoing`: it is how long something has lasted, so "two weeks ago" must date its beginning, not an event.
        `loose`: any shorter time is grounded too.
        """
        if unit not in ("days", "months", "years"):
            return "" if self._number_said.search(text) else "the sentence holds no number"
        text = _UPCOMING.sub(" ", text)
        timeless = text
        for vague in self.table.none:
            timeless = vague.sub(" ", timeless)
        if not _TIME.search(timeless) and not self._number_said.search(timeless):
            return "the sentence holds no duration"
        if ongoing and not _TIME.search(_ONE_DAY.sub(" ", timeless)):
            return "the sentence names a day, not a duration"
        days = value * self.table.units[unit.removesuffix("s")]
        text = _RATE.sub(" ", text)
        spans = list(self._span.finditer(text))
        timed = [clause for clause in _CLAUSE.split(text) if self._span.search(clause)]
        if ongoing and timed and all(_OF_ELSE.search(clause) for clause in timed):
            return f"{spans[0][0]!r} is how long something else has lasted"
        if ongoing and spans and not _BEGAN.search(text) and all(text[s.end() :].startswith(" ago") for s in spans):
            return f"{spans[0][0]!r} ago dates something that happened"
        ranges = [self._range(found) for found in spans]
        for phrase in self.table.phrases:
            if phrase.words.search(text):
                ranges.append((phrase.days / self.table.factor, phrase.most or phrase.days * self.table.factor))
        if ranges and value and not any((loose or low <= days) and days <= high for low, high in ranges):
            return f"the sentence speaks of about {ranges[0][0] * self.table.factor:g} days, not {days:g}"
        return ""

    def hedged(self, text: str) -> bool:
        """Whether every length of time that the words name is one of about so long."""
        spans = list(self._span.finditer(text))
        return bool(spans) and all(
            "couple" in span[0] or _HEDGED.search(text[: span.start()]) or _VAGUE_AFTER.match(text[span.end() :])
            for span in spans
        )

    def _range(self, found: re.Match[str]) -> tuple[float, float]:
        word = found["n"]
        number = self.table.numbers[word] if word in self.table.numbers else float(word)
        days = number * self.table.units[found["unit"]]
        return days / self.table.factor, max(days, 1.0) * self.table.factor

    @cached_property
    def _span(self) -> re.Pattern[str]:
        return re.compile(
            rf"\b(?P<n>\d+(?:\.\d+)?|{'|'.join(self.table.numbers)})(?: or \w+)?"
            r"(?: of| an?| more| whole| full| good| long| solid| straight)*"
            rf"[ -](?P<unit>{'|'.join(self.table.units)})s?\b"
        )

    @cached_property
    def _number_said(self) -> re.Pattern[str]:
        vague = ("a", "an", "few", "several", "hundred")
        words = [word for word in self.table.numbers if word not in vague]
        return re.compile(
            rf"\d|\b(?:{'|'.join(words)}|once|twice|(?:every|each) (?:single )?(?:day|night|evening|morning)|daily"
            r"|nightly|an hour|hours|all day|\w+ties|child\w*|kid|grade|school)\b"
        )
