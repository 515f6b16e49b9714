"""The posts that a run is grown from, each scrubbed only when its turn comes.

    waiting = Waiting(reader)                      # reads all, and tells what is wrong
    waiting.begin(journal, lambda post_id: ...)    # compares with what the run knows
    for post in waiting: ...                       # hands out those that are not finished

    waiting = Waiting.of(reader, journal, ids)     # one worker's share of a run that has begun

The sources are read twice, and never held: once to see that they are sound and which posts there are, once to hand the
posts out. What the run keeps of a post is what its dialogue is grown from, whatever the rules of scrubbing are later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Self

from corpus.intake import take_in
from corpus.posts import Raw, Reader, used_twice
from corpus.scrub import scrub_id
from psyllm.errors import UsageError
from psyllm.journal import Journal
from psyllm.records import Post


class Waiting:
    def __init__(self, reader: Reader, *, limit: int | None = None, keep_raw: bool = False) -> None:
        """Raises UsageError for what is wrong in the sources."""
        self._reader = reader
        self._limit = limit
        self._keep_raw = keep_raw
        self._origins = {post_id: raw.origin for raw, post_id in self._posts()}
        self.total = len(self._origins)
        self.before = 0
        """Posts whose dialogue was finished when this process started."""

    @classmethod
    def of(
        cls, reader: Reader, journal: Journal, ids: Iterable[str], *, limit: int | None = None, keep_raw: bool = False
    ) -> Self:
        """Only these posts, of sources that were found sound."""
        waiting = cls.__new__(cls)
        waiting._reader, waiting._limit, waiting._keep_raw, waiting._journal = reader, limit, keep_raw, journal
        waiting._origins = {}
        waiting._todo = set(ids)
        waiting.total, waiting.before = len(waiting._todo), 0
        return waiting

    @property
    def origins(self) -> Mapping[str, bytes]:
        """Post id -> hash of the post as it was found, in the order of the sources; empty once a run has begun."""
        return self._origins

    def begin(self, journal: Journal, finished: Callable[[str], bool]) -> None:
        """Make these the posts of a run. Raises UsageError for one that changed since the run has known it."""
        known = journal.origins()
        for post_id, origin in self._origins.items():
            if known.get(post_id) not in (None, origin):
                raise UsageError(
                    f"post {post_id!r} differs from the one this run holds", hint="give it another id, or another --run"
                )
        new = (item for item in self._origins.items() if item[0] not in known)
        journal.expect_posts((len(known) + n, post_id, origin) for n, (post_id, origin) in enumerate(new))
        self._journal = journal
        self._todo = {post_id for post_id in self._origins if not finished(post_id)}
        self.before = self.total - len(self._todo)
        self._origins.clear()

    def __iter__(self) -> Iterator[Post]:
        """Raises UsageError or Failure if the sources cannot be read any more."""
        for raw, post_id in self._posts():
            if post_id in self._todo:
                yield self._journal.post(post_id) or self._fresh(raw)

    def _posts(self) -> Iterator[tuple[Raw, str]]:
        """Each post with the id that the run knows it by."""
        return islice(self._each_once(), self._limit)

    def _each_once(self) -> Iterator[tuple[Raw, str]]:
        seen: dict[str, str] = {}
        for raw in self._reader:
            post_id = scrub_id(raw.post.id)
            if post_id in seen:
                if not self._reader.skip_invalid:
                    raise used_twice(raw, seen[post_id])
                self._reader.skip(str(used_twice(raw, seen[post_id])))
                continue
            seen[post_id] = raw.place
            yield raw, post_id

    def _fresh(self, raw: Raw) -> Post:
        post = take_in(raw, keep_raw=self._keep_raw).post
        self._journal.add_posts([(0, post)])
        return post
