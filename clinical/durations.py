"""Whether a sentence grounds a length of time: "for about two months" grounds 60 days, not 600."""

from __future__ import annotations

import re

_DAYS = {"hour": 1 / 24, "day": 1.0, "night": 1.0, "week": 7.0, "fortnight": 14.0, "month": 30.0, "year": 365.0}
_ONE_TO_TWENTY = """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty"""
_NUMBERS = {word: n for n, word in enumerate(_ONE_TO_TWENTY.split(), start=1)} | {
    "half": 0.5,
    "a": 1,
    "an": 1,
    "couple": 2,
    "few": 3,
    "several": 3,
    "dozen": 12,
    "thirty": 30,
    "forty": 40,
}
_SPAN = re.compile(
    rf"\b(?P<n>\d+(?:\.\d+)?|{'|'.join(_NUMBERS)})(?: or \w+)?(?: of| an?| more| whole| full| good| long)*"
    rf"[ -](?P<unit>{'|'.join(_DAYS)})s?\b"
)
_UPCOMING = re.compile(
    r"(?:'s|\b(?:is|are|due|starts?|until|till)) (?:in|within) (?:[\w]+ ){1,3}(?:day|week|month|year)s?\b"
)
_TIME = re.compile(
    r"\d|\b(?:yesterday|today|tonight|since|ago|until|till|ever|always|child\w*|kid|school|college|uni|teens?|\w+ties"
    r"|hours?|days?|nights?|weeks?|fortnight|months?|years?|decades?|spring|summer|autumn|fall|winter|christmas|easter"
    r"|january|february|march|april|may|june|july|august|september|october|november|december|new year"
    r"|monday|tuesday|wednesday|thursday|friday|saturday|sunday|birthday)\b"
)
FACTOR = 2.0
"""How far a value may lie from the span that the sentence names: "two months, bit more" may be 75 days."""


def ungrounded(value: float, unit: str, text: str) -> str:
    """Why a normalised sentence does not ground `value`, in `unit` (days or months); empty when it does."""
    text = _UPCOMING.sub(" ", text)
    if not _TIME.search(text):
        return "the sentence holds no duration"
    days = value * _DAYS[unit.removesuffix("s")]
    spans = [_number(found["n"]) * _DAYS[found["unit"]] for found in _SPAN.finditer(text)]
    if spans and not any(span / FACTOR <= days <= max(span, 1.0) * FACTOR for span in spans):
        return f"the sentence speaks of about {spans[0]:g} days, not {days:g}"
    return ""


def _number(word: str) -> float:
    return _NUMBERS[word] if word in _NUMBERS else float(word)
