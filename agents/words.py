"""Words and patterns that the checks of this folder share; the lists are in checks.yaml."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path

import re2
import yaml

LISTS: Mapping[str, list[str]] = yaml.safe_load((Path(__file__).parent / "checks.yaml").read_text(encoding="utf-8"))
_STRAIGHTENED = {**dict.fromkeys(map(ord, "‘’ʼ´`"), "'"), **dict.fromkeys(map(ord, "‐‑"), "-")}


@lru_cache(maxsize=1024)
def plain(text: str) -> str:
    """NFKC, with straight apostrophes and plain hyphens."""
    return unicodedata.normalize("NFKC", text.translate(_STRAIGHTENED))


def words_of(text: str) -> list[str]:
    """The words in lower case."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain(text).casefold())


def run(text: str) -> str:
    """The words alone, spaced, so that one run of words is part of another only at word borders."""
    return f" {' '.join(words_of(text))} "


def sentences(text: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=[.!?])[\"”’']?\s+|\n+", text) if sentence.strip()]


class WholeWords:
    """Several expressions as one pattern, matched as whole words in any case.

    Most texts hold none of them. RE2 sees that in 3 microseconds where Python's `re` takes 100, so it is asked first,
    for something wider: it leaves the borders of words out.
    """

    def __init__(self, expressions: Iterable[str]) -> None:
        either = "|".join(expressions)
        self.exact = re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        try:
            self._occurs = re2.compile(_TOKEN.sub(_widened, either), options).search
        except re2.error:  # a look ahead or back
            self._occurs = self.exact.search

    def search(self, text: str) -> re.Match[str] | None:
        return self.exact.search(text) if self._occurs(text) else None

    def match(self, text: str) -> re.Match[str] | None:
        return self.exact.match(text) if self._occurs(text) else None

    def fullmatch(self, text: str) -> re.Match[str] | None:
        return self.exact.fullmatch(text)

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        return self.exact.finditer(text) if self._occurs(text) else iter(())

    def sub(self, replacement: str, text: str) -> str:
        return self.exact.sub(replacement, text) if self._occurs(text) else text


_TOKEN = re.compile(r"\[(?:\\.|[^\]\\])*\]|\\.")
_WIDER = {r"\b": "", r"\w": r"[\pL\pN_]", r"\d": r"\pN", r"\s": r"[\s\pZ]"}
"""What RE2 takes to mean ASCII, for all scripts."""


def _widened(token: re.Match[str]) -> str:
    if token[0][0] == "[":
        return re.sub(r"\\[wds]", lambda inner: _WIDER[inner[0]].strip("[]"), token[0])
    return _WIDER.get(token[0], token[0])


@cache
def any_of(patterns: tuple[str, ...]) -> WholeWords:
    """One pattern of several."""
    return WholeWords(patterns)


@cache
def listed(*names: str) -> WholeWords:
    """One pattern of one or more lists of checks.yaml."""
    return any_of(tuple(pattern for name in names for pattern in LISTS[name]))


def found(pattern: WholeWords, text: str) -> Iterator[str]:
    return (match[0] for match in pattern.finditer(plain(text)))


def overlap(one: Iterable[str], other: Iterable[str]) -> float:
    """Shared words over all words, 0 to 1."""
    a, b = set(one), set(other)
    return len(a & b) / len(a | b) if a | b else 0.0
