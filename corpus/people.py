"""Names of people in a post, by the words around them and a list of first names.

A word is taken for a name when the words say so ("my sister Aoife", "Dr Marsh", "a guy named Bo", "- Kit" at the
end), or when it is a first name and written like one. First names that are also words ("Grace", "Will", "Austin")
count only where a capital or a cue beside them leaves no other reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from corpus.words import alternatives, first_names, listed

_CAPITAL = r"[A-Z][a-z]+(?:-[A-Z][a-z]+)?"
_TOKEN = re.compile(r"(?<![\w'’])[A-Za-zÀ-ÖØ-öø-ÿ]+(?:-[A-Za-zÀ-ÖØ-öø-ÿ]+)?(?!['’](?:t|ve|ll|re|m|d)\b)")
_SURNAME = re.compile(r" ((?:Mc|Mac|O['’]|De |Van |von |de )?[A-Z][a-zà-ÿ]{2,}(?:-[A-Z][a-z]+)?)(?![\w'’])")
_CAPITAL_NAME = r"(?:Mc|Mac|O['’])?[A-ZÀ-Þ][a-zà-ÿ]+(?:-[A-Z][a-z]+)?"
_LONG = 4
"""Letters from which a first name counts also when written small."""


@cache
def _cued() -> re.Pattern[str]:
    """Group 1 holds what follows a cue: a name, if capitalised or a known one."""
    return re.compile(
        rf"(?:\b(?i:(?:my|his|her|our|their|your|a|the|best|old|good|ex|called|named) (?:{alternatives('people')}))"
        rf"(?:,| (?i:is |was )?(?i:called|named)| -|,? (?i:{alternatives('titles')})\.?)?"
        rf"|\b(?i:named|called|name(?:'|’)?s|name is|name was|name:|call me|nicknamed|i(?:'|’)?m called)"
        rf"|(?<!;)\b(?i:{alternatives('titles')})\.?) ((?:[A-Za-zÀ-ÿ][\w'’-]*))"
    )


@cache
def _named() -> re.Pattern[str]:
    """A capitalised word of any kind that does, or is done to, what only people do."""
    return re.compile(
        rf"(?:(?<=[a-z,;] )({_CAPITAL_NAME}) (?:{alternatives('said')})\b"
        rf"|\b(?:{alternatives('to_somebody')}) ({_CAPITAL_NAME})\b)"
    )


_SIGNED = re.compile(
    r"(?:\n\s*[-–—~]+ ?|\n\s*(?i:love|best|regards|thanks|cheers|sincerely|yours|xx+|take care),?\s+(?:[-–—] ?)?"
    rf"|\s[-–—~] ?)({_CAPITAL_NAME}|[a-z]{{3,}})\s*[.!x]*\s*$"
)
_INTRODUCED = re.compile(rf"\b(?i:i(?:'|’)?m|i am|this is|it(?:'|’)?s) ({_CAPITAL_NAME})(?=[,.!?]| and\b| here\b|$)")


def names(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each name; a surname belongs to it."""
    for match in _cued().finditer(text):
        start, end = match.span(1)
        word = re.sub(r"['’]s?$", "", match[1])
        if _follows_cue(word, text[match.start() : start]):
            yield start, _with_surname(text, start + len(word))
    for pattern in (_named(), _INTRODUCED, _SIGNED):
        for match in pattern.finditer(text):
            start, end = match.span(match.lastindex or 0)
            known = text[start:end].casefold() in first_names()
            if not _ordinary(text[start:end]) and (known or (text[start].isupper() and pattern is not _SIGNED)):
                yield start, _with_surname(text, end)
    known_names = first_names()
    for match in _TOKEN.finditer(text):
        if (match[0].casefold() in known_names or "-" in match[0]) and _stands_alone(text, match):
            yield match.start(), _with_surname(text, match.end())


def _follows_cue(word: str, cue: str) -> bool:
    known = first_names().get(word.casefold())
    if _ordinary(word):
        return False
    if word[:1].isupper():
        return not word.isupper() or known is not None
    return bool(known) and (len(word) >= _LONG or re.search(r"(?i)named|called|name", cue) is not None)


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    word = match[0]
    own = first_names().get(word.casefold())
    if own is None and "-" in word:
        own = (word[0].isupper() and all(part.casefold() in first_names() for part in word.split("-"))) or None
    if own is None or _ordinary(word):
        return False
    if word.islower():
        return own and len(word) > _LONG
    if word.isupper() and len(word) > 1:
        return own and len(word) > _LONG and not text.isupper()
    acts = re.compile(rf" (?:{alternatives('said')}|and I|and me)\b").match(text, match.end())
    return (
        own
        or acts is not None
        or (_inside_sentence(text, match.start()) and _SURNAME.match(text, match.end()) is not None)
    )


def _inside_sentence(text: str, start: int) -> bool:
    return re.search(r"[\w,;] $", text[max(0, start - 3) : start]) is not None


def _ordinary(word: str) -> bool:
    return word.casefold().replace("’", "'") in listed("not_names") or word.casefold() in listed("people")


def _with_surname(text: str, end: int) -> int:
    surname = _SURNAME.match(text, end)
    return surname.end() if surname and not _ordinary(surname[1]) else end
