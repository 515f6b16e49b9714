"""Small tools on words: data files, templates with {slots}, sentences, clauses, and I turned into you."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_SLOT = re.compile(r"\{([a-z_.]+)\}")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"”')]*\s+|\n+")
_CLAUSE_END = re.compile(
    r"[.!?…;:()–—\n]+|\s-\s|-(?=I\b)|,\s+|\s+(?:and|but|because|so|which|although|though)\s+", re.IGNORECASE
)
_YOU = {
    "i": "you",
    "me": "you",
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
    "i'm": "you're",
    "im": "you're",
    "i've": "you've",
    "i'd": "you'd",
    "i'll": "you'll",
    "am": "are",
}
_WAS = re.compile(r"\byou (was|wasn't)\b", re.IGNORECASE)


@cache
def data(name: str) -> dict[str, Any]:
    """One of the data files beside this module: 'phrases', 'cues' or 'faults'."""
    loaded: dict[str, Any] = yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def pattern(source: str) -> re.Pattern[str]:
    return re.compile(source, re.IGNORECASE)


class Voice:
    """Picks phrases by one seeded generator, passing over those that were spoken before."""

    def __init__(self, rng: random.Random, spoken: str = "", **slots: str) -> None:
        self.rng = rng
        self.spoken = plain(spoken)
        self.slots = slots

    def say(self, key: str | Sequence[str], **slots: str) -> str:
        """A phrase under `key` (dotted for nested tables), or of the list itself, with its slots filled."""
        choices = list(key) if not isinstance(key, str) else _look_up(key)
        for choice in self.rng.sample(choices, len(choices)):
            text = self.fill(choice, **slots)
            if self.fresh(text):
                break
        self.spoken += " " + plain(text)
        return text

    def some(self, choices: Sequence[str], count: int) -> list[str]:
        """Up to `count` different phrases of a list."""
        return [self.fill(choice) for choice in self.rng.sample(list(choices), min(count, len(choices)))]

    def fill(self, text: str, **slots: str) -> str:
        """Replace {slots} by the given words, this voice's own, or a phrase of the table so named."""
        given = {**self.slots, **slots}

        def word(match: re.Match[str]) -> str:
            name = match[1]
            return given[name] if name in given else self.fill(self.rng.choice(_look_up(name)), **slots)

        return _SLOT.sub(word, text)

    def fresh(self, text: str) -> bool:
        """Whether the first three words of `text` were not spoken yet."""
        opening = " ".join(plain(text).split()[:3])
        return not opening or opening not in self.spoken

    def chance(self, share: float) -> bool:
        return self.rng.random() < share


def _look_up(key: str) -> list[str]:
    here: Any = data("phrases")
    for name in key.split("."):
        here = here[name]
    return [str(item) for item in here]


def plain(text: str) -> str:
    """Lower case, straight quotes, letters and digits only: for comparing."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower().replace("’", "'")))


def sentences(text: str) -> list[str]:
    return [piece.strip() for piece in _SENTENCE_END.split(text) if piece and piece.strip()]


def clauses(text: str, *, least: int, most: int) -> list[str]:
    """First-person clauses of `least` to `most` words, without the words that a profile must not hold."""
    unfit = pattern(data("cues")["unfit"])
    own = re.compile(r"^(?:i(?!'ll|'d)|my|im|ive)\b", re.IGNORECASE)
    pieces = [re.sub(r"\s+", " ", piece.replace("’", "'")).strip(" \"'*.") for piece in _CLAUSE_END.split(text)]
    fit = [
        piece
        for piece in pieces
        if least <= len(piece.split()) <= most and own.match(piece) and not unfit.search(piece) and _closed(piece)
    ]
    return list(dict.fromkeys(fit))


def _closed(clause: str) -> bool:
    return not pattern(data("cues")["open_end"]).search(clause)


def hits(text: str, cues: Iterable[str]) -> int:
    return sum(1 for _ in pattern("|".join(cues)).finditer(text.replace("’", "'")))


def suicide_level(sentence: str) -> int:
    """0 to 5, by the words of one sentence."""
    cues = data("cues")
    if pattern(cues["unafraid"]).search(sentence.replace("’", "'")):
        return 0
    return max((int(level) for level, listed in cues["suicide"].items() if hits(sentence, listed)), default=0)


def to_you(text: str) -> str:
    """A client's words as the counsellor says them: 'I was in my room' -> 'you were in your room'."""
    swapped = re.sub(r"[A-Za-z]+(?:['’][a-z]+)?", _swap, text)
    return _WAS.sub(lambda m: "you were" if m[1] == "was" else "you weren't", swapped)


def _swap(match: re.Match[str]) -> str:
    word = match[0]
    return _YOU.get(word.lower().replace("’", "'"), word)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def ended(text: str) -> str:
    """With a full stop, unless it ends in a mark already."""
    text = text.rstrip(" ,;:")
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def clip(text: str, most: int) -> str:
    """At most `most` characters, cut after a sentence where one ends late enough, else after a word."""
    if len(text) <= most:
        return text
    cut = text[:most]
    stop = max(cut.rfind(mark) for mark in ".!?")
    return cut[: stop + 1] if stop > most // 2 else cut.rsplit(" ", 1)[0]
