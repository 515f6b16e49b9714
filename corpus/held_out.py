"""Keeps test data out of what is trained on: posts and client words that share a passage with held-out files.

A held-out file is .jsonl, .json or .parquet of any shape, a dataset of ours or a benchmark: every text in it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from corpus.metrics import words
from corpus.tables import read_rows

RUN = 13
"""Words in a row that two texts must share; in shorter ones everyday phrases of distress collide."""


class HeldOut:
    """Passages and post ids of the held-out files, as hashes."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        """Raises UsageError for a file that cannot be read."""
        self._passages: set[int] = set()
        self._posts: set[str] = set()
        for path in paths:
            for _, row in read_rows(path):
                self._passages.update(hash(run) for text in _texts(row) for run in _runs(text))
                if isinstance(post_id := row.get("post_id"), str):
                    self._posts.add(post_id)

    def finds(self, post_id: str, texts: Iterable[str]) -> str:
        """The first passage that a text shares with a held-out file, or that the post is one of its posts; else ''."""
        if post_id in self._posts:
            return "its post is in the file"
        if self._passages:
            shared = (run for text in texts for run in _runs(text) if hash(run) in self._passages)
            return " ".join(next(shared, ()))
        return ""


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    found = words(text)
    return zip(*(found[start:] for start in range(RUN)), strict=False)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        if value.get("role") != "system":
            yield from (text for item in value.values() for text in _texts(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _texts(item))
