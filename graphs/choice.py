"""Which modalities a post is offered, and in which order.

Cues in the post decide what is indicated and what is not; among those the order is drawn from seed and post by the
wanted shares, so that it is the same on any machine, whatever else is in the run.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

from agents.cast import Cast
from prompts.library import Modality
from psyllm.records import Post, Sentence, Turn

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True)
class Choice:
    candidates: tuple[Modality, ...]
    """First those that the post indicates, as drawn, then the others, as drawn; never a contraindicated one."""
    refused: tuple[tuple[str, str], ...]
    """(modality, the contraindication heard in the post)."""

    @property
    def refusal(self) -> str:
        return "; ".join(f"{name}: {pointer}" for name, pointer in self.refused)

    @classmethod
    def for_post(cls, cast: Cast, post: Post) -> Choice:
        words = (_as_turn(post),)
        refused: list[tuple[str, str]] = []
        ranked: list[tuple[bool, float, Modality]] = []
        for name, share in cast.rules.shares(cast.library.modalities).items():
            modality = cast.library.modality(name)
            heard = (p for p in modality.matter.contraindications if cast.knowledge.points_to(p, words))
            if against := next(heard, ""):
                refused.append((name, against))
                continue
            indicated = any(cast.knowledge.points_to(p, words) for p in modality.matter.indications)
            ranked.append((not indicated, _drawn(cast.rules.seed, post.id, name, share), modality))
        ranked.sort(key=lambda entry: entry[:2])
        return cls(tuple(modality for _, _, modality in ranked), tuple(refused))


def _drawn(seed: int, post_id: str, modality: str, share: float) -> float:
    """An arrival time: sorted by these, a modality comes first with a probability equal to its share.

    Exponential clocks, as in Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006.
    """
    digest = hashlib.sha256(f"{seed}/{post_id}/{modality}".encode()).digest()
    uniform = (int.from_bytes(digest[:8], "big") + 1) / 2**64
    return -math.log(uniform) / share


def _as_turn(post: Post) -> Turn:
    """The post as if it had been said, for the cues that listen to clients."""
    spoken = [part for part in _SENTENCE_END.split(f"{post.title}\n{post.text}") if part.strip()]
    return Turn(round=1, client=tuple(Sentence(n=n, text=text) for n, text in enumerate(spoken, 1)))
