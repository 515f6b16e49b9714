"""Which split a post falls into: near duplicates together, each kind of dialogue spread over all splits.

>>> parse("90/5/5")
{'train': 0.9, 'validation': 0.05, 'test': 0.05}
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from corpus.selection import Candidate, rank
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


def assign(candidates: Sequence[Candidate], shares: Shares, seed: int) -> list[str]:
    """The split of each candidate, in their order.

    Candidates of one post group stay together. The groups are sorted by mode, modality and severity, within these by
    a hash of seed and post id, and dealt out one by one to the split that lacks most; so every split holds each kind
    in nearly the same share, and the rare, urgent ones do not all fall into one.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for position, candidate in enumerate(candidates):
        members[candidate.post_group].append(position)
    leads = {group: min(at, key=lambda n: rank(seed, candidates[n].post_id)) for group, at in members.items()}
    order = sorted(
        members, key=lambda group: (candidates[leads[group]].stratum, rank(seed, candidates[leads[group]].post_id))
    )
    dealt: Counter[str] = Counter()
    split = [""] * len(candidates)
    for group in order:
        total = dealt.total() + len(members[group])
        name = max(shares, key=lambda name: shares[name] * total - dealt[name])
        dealt[name] += len(members[group])
        for position in members[group]:
            split[position] = name
    return split
