"""Words and patterns that the checks of this folder share; the lists are in checks.yaml."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml

LISTS: Mapping[str, list[str]] = yaml.safe_load((Path(__file__).parent / "checks.yaml").read_text(encoding="utf-8"))
_STRAIGHTENED = {**dict.fromkeys(map(ord, "‘’ʼ´`"), "'"), **dict.fromkeys(map(ord, "‐‑"), "-")}


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


@cache
def any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern of several, matched as whole words in any case."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)", re.IGNORECASE)


@cache
def listed(*names: str) -> re.Pattern[str]:
    """One pattern of one or more lists of checks.yaml."""
    return any_of(tuple(pattern for name in names for pattern in LISTS[name]))


def found(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    return (match[0] for match in pattern.finditer(plain(text)))


def overlap(one: Iterable[str], other: Iterable[str]) -> float:
    """Shared words over all words, 0 to 1."""
    a, b = set(one), set(other)
    return len(a & b) / len(a | b) if a | b else 0.0
