"""Which of several workers' databases a post belongs to.

A post whose dialogue has begun stays in the database that has it. Every other one goes where a hash of its id says,
for the number of workers of this start; so a run can go on with more workers, or with fewer.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping

from psyllm.errors import UsageError
from psyllm.journal import Journal


def shard_of(post_id: str, workers: int) -> int:
    """Of a post that has not begun."""
    return int.from_bytes(hashlib.sha256(post_id.encode()).digest()[:8]) % workers


def place(origins: Mapping[str, bytes], journals: Mapping[int, Journal], workers: int) -> dict[str, int]:
    """Make these the posts of a run, each in one of its databases; returns post id -> number of the database.

    `origins` are hashes of the posts as found, in the order of the sources. Can be cut off at any moment and done
    again. Raises UsageError for a post that changed since the run has known it, and Failure if writing fails.
    """
    positions: dict[str, int] = {}
    home: dict[str, int] = {}
    waiting: dict[str, set[int]] = defaultdict(set)
    for number, journal in journals.items():
        for post_id, position, origin, begun in journal.places():
            if origins.get(post_id) not in (None, origin):
                raise UsageError(
                    f"post {post_id!r} differs from the one this run holds", hint="give it another id, or another --run"
                )
            positions[post_id] = position
            if begun:
                home[post_id] = number
            else:
                waiting[post_id].add(number)
    placed: dict[str, int] = {}
    added: dict[int, list[tuple[int, str, bytes]]] = defaultdict(list)
    dropped: dict[int, list[str]] = defaultdict(list)
    for post_id, origin in origins.items():
        number = home.get(post_id, shard_of(post_id, workers))
        position = positions.setdefault(post_id, len(positions))
        if post_id not in home and number not in waiting[post_id]:
            added[number].append((position, post_id, origin))
        for other in waiting[post_id] - {number}:
            dropped[other].append(post_id)
        placed[post_id] = number
    for number, posts in added.items():
        journals[number].expect_posts(posts)
        journals[number].flush()
    for number, names in dropped.items():
        journals[number].drop_posts(names)
        journals[number].flush()
    return placed
