"""The one rule for what is in a test set, for `intake --held-out` and `export --decontaminate` alike.

A held-out file may be of any shape, a dataset of ours or a benchmark: every text in it counts, as it stands and as
intake would scrub it. A post is held out if the file names it as `post_id`, shares a passage of 13 words in a row with
it, or holds a text that says nearly the same (`corpus.seen`: short posts have no such passage).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpus.intake import mask, mend
from corpus.metrics import words
from corpus.screen import MIN_WORDS
from corpus.scrub import Scrubber
from corpus.seen import Seen
from corpus.sources import Source
from corpus.tables import SUFFIXES, read_rows
from psyllm.records import Post

RUN = 13
"""Words in a row that two texts must share; in shorter ones everyday phrases of distress collide."""


class HeldOut:
    """Passages and post ids of the held-out files as hashes, and their texts in an index of near duplicates."""

    def __init__(self, paths: Sequence[Path], index: Seen) -> None:
        """Raises UsageError for a file that cannot be read."""
        self._passages: set[int] = set()
        self._posts: set[str] = set()
        self._index = index
        for path in paths:
            for place, row in _rows(path):
                texts = [*_texts(row)]
                clean = _cleaned(texts)
                self._passages.update(hash(run) for text in {*texts, *clean} for run in _runs(text))
                index.remember((place, text) for text in clean if len(text.split()) >= MIN_WORDS)
                if isinstance(row, dict) and isinstance(post_id := row.get("post_id"), str):
                    self._posts.add(post_id)
        self._empty = not paths

    def finds(self, post: Post, said: Iterable[str] = ()) -> str:
        """Why a post is in a held-out file, or what was said in a dialogue grown from it; '' if it is in none."""
        if self._empty:
            return ""
        if post.id in self._posts:
            return "its post is in the file"
        shared = (run for text in (post.words, *said) for run in _runs(text) if hash(run) in self._passages)
        if passage := " ".join(next(shared, ())):
            return passage
        alike = filter(None, map(self._index.match, (post.words, post.text)))
        return next(map(str, alike), "")


@contextmanager
def held_out(paths: Sequence[Path]) -> Iterator[HeldOut]:
    """Its index is gone at the end. Raises UsageError for a file that cannot be read."""
    with Seen() as index:
        yield HeldOut(paths, index)


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, value) of each row of a dataset, or of any source that intake reads."""
    if path.suffix == ".json" or (path.is_dir() and any(file.suffix in SUFFIXES for file in path.rglob("*"))):
        yield from read_rows(path)
    else:
        yield from ((row.place, row.read()) for row in Source(path).rows())


def _cleaned(texts: Sequence[str]) -> list[str]:
    """As posts are when they come in."""
    mended = [mend(text) for text in texts]
    scrubber = Scrubber(mended)
    return mask([scrubber.scrub(text) for text in mended])


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
