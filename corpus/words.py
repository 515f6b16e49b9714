"""The words that hygiene goes by: hygiene.yaml and names.txt, read once, when first needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).parent


@cache
def _data() -> Mapping[str, Any]:
    text = (_HERE / "hygiene.yaml").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return loaded


@cache
def listed(name: str) -> frozenset[str]:
    """A list of plain words of `scrub`."""
    return frozenset(_data()["scrub"][name].split())


@cache
def alternatives(name: str) -> str:
    """The same as a regular expression, the longest word first."""
    return "|".join(re.escape(word) for word in sorted(listed(name), key=lambda word: (-len(word), word)))


@cache
def pattern(*path: str) -> re.Pattern[str]:
    """The expressions at a path of hygiene.yaml as one, case ignored, whole words, `^` at each line."""
    found: Any = _data()
    for name in path:
        found = found[name]
    joined = found if isinstance(found, str) else "|".join(found)
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)", re.IGNORECASE | re.MULTILINE)


@cache
def first_names() -> Mapping[str, bool]:
    """First name in lower case -> whether it is a name and nothing else."""
    lines = (_HERE / "names.txt").read_text(encoding="utf-8").splitlines()
    words = (word for line in lines if not line.startswith("#") for word in line.split())
    return {word.rstrip("?"): not word.endswith("?") for word in words}
