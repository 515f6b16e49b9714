"""Which split a post falls into: near duplicates together, each kind of dialogue spread over all splits.

>>> parse("90/5/5")
{'train': 0.9, 'validation': 0.05, 'test': 0.05}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from corpus.candidates import Selection
from psyllm.errors import UsageError

NAMES = ("train", "validation", "test")
Shares = Mapping[str, float]


def parse(text: str) -> dict[str, float]:
    """Shares of train, validation and test, from 'A/B/C' or 'A/B'. Raises UsageError."""
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or min(parts) < 0 or not parts[0]:
        raise UsageError(f"--splits {text!r} is no list of shares", hint="write e.g. 90/5/5: train, validation, test")
    return {name: part / sum(parts) for name, part in zip(NAMES, parts, strict=False) if part}


def assign(selection: Selection, shares: Shares) -> None:
    """Give each candidate its split.

    Candidates of one post group stay together. The groups are sorted by mode, modality and severity, within these by
    a hash of seed and post id, and dealt out one by one to the split that lacks most; so every split holds each kind
    in nearly the same share, and the rare, urgent ones do not all fall into one.
    """
    groups = selection.rows(
        "SELECT post_group, size FROM (SELECT *, count(*) OVER whole AS size, min(n) OVER whole AS first,"
        " row_number() OVER (PARTITION BY post_group ORDER BY place, n) AS nth"
        " FROM candidates WINDOW whole AS (PARTITION BY post_group))"
        " WHERE nth = 1 ORDER BY mode, modality, severity, place, first"
    )
    selection.split(_dealt(groups, shares))


def _dealt(groups: Iterable[tuple[int, int]], shares: Shares) -> Iterator[tuple[int, str]]:
    dealt: Counter[str] = Counter()
    for group, size in groups:
        total = dealt.total() + size
        name = max(shares, key=lambda name: shares[name] * total - dealt[name])
        dealt[name] += size
        yield group, name
