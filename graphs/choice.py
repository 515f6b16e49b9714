"""Which modalities a post is offered, and in which order.

Cues in the post take out what is contraindicated. The order of the others is drawn from seed and post by the wanted
shares, so that it is the same on any machine, whatever else is in the run. What the post indicates weighs more in the
draw, not all: the cues hear low mood in nearly every post, and a corpus must hold the rarer schools too. The planner,
who reads the post, may pass over the first one with a reason.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

from agents.cast import Cast
from prompts.library import Modality
from psyllm.records import Post, Sentence, Turn

INDICATED = 2.0
"""How much more an indicated modality weighs in the draw."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True)
class Choice:
    candidates: tuple[Modality, ...]
    """In the order drawn; never a contraindicated one."""
    refused: tuple[tuple[str, str], ...]
    """(modality, the contraindication heard in the post)."""

    @property
    def refusal(self) -> str:
        return "; ".join(f"{name}: {pointer}" for name, pointer in self.refused)

    @classmethod
    def for_post(cls, cast: Cast, post: Post) -> Choice:
        heard = cast.knowledge.heard((as_turn(post),))
        refused: list[tuple[str, str]] = []
        drawn: list[tuple[float, Modality]] = []
        for name, share in cast.rules.shares(cast.library.modalities).items():
            modality = cast.library.modality(name)
            if against := next((p for p in modality.matter.contraindications if p in heard), ""):
                refused.append((name, against))
                continue
            indicated = any(p in heard for p in modality.matter.indications)
            weight = share * (INDICATED if indicated else 1.0)
            drawn.append((_arrival(cast.rules.seed, post.id, name, weight), modality))
        drawn.sort(key=lambda entry: entry[0])
        return cls(tuple(modality for _, modality in drawn), tuple(refused))


def _arrival(seed: int, post_id: str, modality: str, weight: float) -> float:
    """Sorted by arrival, a modality comes first with a probability in proportion to its weight.

    Exponential clocks, as in Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006.
    """
    digest = hashlib.sha256(f"{seed}/{post_id}/{modality}".encode()).digest()
    uniform = (int.from_bytes(digest[:8], "big") + 1) / 2**64
    return -math.log(uniform) / weight


def as_turn(post: Post) -> Turn:
    """The post as if it had been said, for the cues that listen to clients."""
    spoken = [part for part in _SENTENCE_END.split(post.words) if part.strip()]
    return Turn(round=1, client=tuple(Sentence(n=n, text=text) for n, text in enumerate(spoken, 1)))
