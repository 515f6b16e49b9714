"""Markers of a reply that code counts from its words, by prompts/markers.yaml; the rest is left to critic and judges.

    counted = Counted.of(library, Knowledge.load())
    counted.shown("It's up to you. What happened at the door?")             # {"F0b", "MI4"}

A folder of prompts of one's own may hold a markers.yaml too; its rules replace or join the shipped ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from agents import checks
from agents.words import LISTS, any_of, listed, plain, sentences
from clinical import Knowledge
from prompts.files import Mistake
from prompts.library import README, SHIPPED, KnownMarker, Library
from prompts.matter import did_you_mean
from psyllm.errors import UsageError
from psyllm.yaml_nodes import child, composed

FILE = "markers.yaml"


class Rule(BaseModel):
    """One entry of markers.yaml; the head of that file says what each key means."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    line: str = ""
    any: tuple[str, ...] = ()
    say: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    questions: tuple[int, int] | None = None
    check: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        patterns = bool(self.any or self.say or self.lists)
        if patterns + bool(self.questions) + bool(self.check) != 1:
            raise ValueError("a marker is counted in one way: by patterns, by questions, or by a check")
        for pattern in (*self.any, *self.say, *self.unless):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no pattern: {error}") from error
        for name in self.lists:
            if name not in LISTS:
                raise ValueError(f"agents/checks.yaml has no list {name!r}{did_you_mean(name, LISTS)}")
        if self.check and self.check not in checks.OF_WORDS:
            raise ValueError(f"no check of words is called {self.check!r}; known: {', '.join(checks.OF_WORDS)}")
        return self

    def holds(self, reply: str, knowledge: Knowledge) -> bool:
        """Whether the reply shows it."""
        if self.check:
            return any(True for _ in checks.OF_WORDS[self.check](knowledge, reply))
        if self.questions:
            return self.questions[0] <= reply.count("?") <= self.questions[1]
        return any(map(self._found, sentences(plain(reply))))

    def _found(self, sentence: str) -> bool:
        own = checks.without_quotes(sentence)
        if self.unless and any_of(self.unless).search(own):
            return False
        if self.any and any_of(self.any).search(own):
            return True
        told = bool(self.say) and any_of(self.say).search(own) is not None
        listed_ = bool(self.lists) and listed(*self.lists).search(own) is not None
        return "?" not in own and (told or listed_)


@dataclass(frozen=True)
class Counted:
    """The markers that code counts, the shared ones first, then by school."""

    known: Mapping[str, KnownMarker]
    """Their lines say what is counted."""
    rules: Mapping[str, Rule]
    knowledge: Knowledge

    @classmethod
    def of(cls, library: Library, knowledge: Knowledge) -> Counted:
        """Raises UsageError with every mistake of the files."""
        rules, mistakes = _read(library)
        if mistakes:
            raise UsageError("\n".join(map(str, sorted(mistakes))), hint=README)
        known = {
            name: replace(marker, line=rules[name].line or marker.line)
            for name, marker in library.markers.items()
            if name in rules
        }
        return cls(known, rules, knowledge)

    def shown(self, reply: str) -> frozenset[str]:
        """The markers in the words of one reply, whatever its school."""
        return frozenset(name for name in self.known if self.rules[name].holds(reply, self.knowledge))


def mistakes(library: Library) -> list[Mistake]:
    """What is wrong in the shipped markers.yaml and in the library's own."""
    return _read(library)[1]


def _read(library: Library) -> tuple[dict[str, Rule], list[Mistake]]:
    rules: dict[str, Rule] = {}
    wrong: list[Mistake] = []
    for folder in filter(None, (SHIPPED, library.overlay)):
        if (path := folder / FILE).is_file():
            for found in _entries(path, library):
                if isinstance(found, Mistake):
                    wrong.append(found)
                else:
                    rules[found[0]] = found[1]
    return rules, wrong


def _entries(path: Path, library: Library) -> Iterator[tuple[str, Rule] | Mistake]:
    try:
        node, value = composed(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        yield Mistake(path, mark.line + 1 if mark else 1, f"cannot be read: {getattr(error, 'problem', None) or error}")
        return
    if not isinstance(value, dict):
        yield Mistake(path, 1, "not a mapping; write `MARKER: {say: [...]}`")
        return
    unread = library.modalities.broken
    for name, rule in value.items():
        key, _ = child(node, str(name))
        line = key.start_mark.line + 1 if key is not None else 1
        if name not in library.markers and not unread:
            yield Mistake(path, line, f"{name}: no prompt has this marker{did_you_mean(str(name), library.markers)}")
            continue
        try:
            yield str(name), Rule.model_validate(rule)
        except ValidationError as error:
            for each in error.errors():
                place = ".".join(map(str, (name, *each["loc"])))
                near = did_you_mean(str(each["loc"][0]), Rule.model_fields) if each["type"] == "extra_forbidden" else ""
                yield Mistake(path, line, f"{place}: {each['msg'].removeprefix('Value error, ')}{near}")
