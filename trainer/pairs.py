"""Preference pairs for DPO: rendered like any turn, and what their lengths are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.rows import NO_REASONING, NOT_RENDERED, TOO_LONG, Dropped, apart, ids_of, refuse_empty
from trainer.sources import Conversation, Message, Pair

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MERGED = "its tokens merge with the prompt's"


@dataclass
class Pairs:
    """Pairs in TRL's conversational preference format, with the tokens of each reply."""

    rows: list[dict[str, list[Message]]] = field(default_factory=list)
    chosen_tokens: list[int] = field(default_factory=list)
    rejected_tokens: list[int] = field(default_factory=list)
    dropped: Dropped = field(default_factory=Dropped)

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> dict[str, float]:
        """Mean tokens of both sides, and the share of pairs whose kept reply is the longer one."""
        longer = sum(c > r for c, r in zip(self.chosen_tokens, self.rejected_tokens, strict=True))
        return {
            "chosen_tokens": sum(self.chosen_tokens) / len(self),
            "rejected_tokens": sum(self.rejected_tokens) / len(self),
            "chosen_longer": longer / len(self),
        }


@dataclass
class PairPlan:
    """What DPO will see."""

    max_length: int
    train: Pairs
    held: Pairs | None


def encode_pairs(conversations: Iterable[Conversation], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Pairs:
    """The pairs that fit; what is left out is named in `dropped`. Raises UsageError if nothing is left."""
    found = Pairs()
    for one in conversations:
        for number, pair in enumerate(one.pairs, 1):
            why, lengths = _lengths(pair, tokenizer, max_length)
            if why:
                found.dropped.add(why, f"{one.id}/{number}")
                continue
            found.rows.append({"prompt": list(pair.prompt), "chosen": [pair.chosen], "rejected": [pair.rejected]})
            found.chosen_tokens.append(lengths[0])
            found.rejected_tokens.append(lengths[1])
    if not found.rows:
        refuse_empty(found.dropped, max_length)
    return found


def _lengths(pair: Pair, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[str, list[int]]:
    """(why it is left out, or nothing; tokens of both replies)."""
    lengths = []
    for answer in (pair.chosen, pair.rejected):
        if not answer["reasoning_content"].strip():
            return NO_REASONING, []
        prompt, completion = apart(pair.prompt, answer, tokenizer)
        if completion is None:
            return NOT_RENDERED, []
        asked, answered, whole = ids_of(tokenizer, [prompt, completion, prompt + completion])
        if asked + answered != whole:
            return MERGED, []
        if len(whole) > max_length:
            return TOO_LONG, []
        lengths.append(len(answered))
    return "", lengths


def length_report(margins: list[float], chosen: list[int], rejected: list[int]) -> dict[str, Any]:
    """Of pairs after training: accuracy, mean margin of the rewards, and how far the margin follows length.

    The correlation is Pearson's, of margin with tokens of the kept reply less those of the other; None if either is
    constant.
    """
    import numpy as np

    apart_by = np.array(chosen, dtype=float) - np.array(rejected, dtype=float)
    gains = np.array(margins)
    varied = len(gains) > 1 and gains.std() > 0 and apart_by.std() > 0
    return {
        "pairs": len(margins),
        "accuracy": float((gains > 0).mean()),
        "mean_margin": float(gains.mean()),
        "margin_length_correlation": float(np.corrcoef(gains, apart_by)[0, 1]) if varied else None,
    }


def shown(value: Any) -> str:
    """A figure of the report: tokens without decimals, shares and margins with three."""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}"
    return "-" if value is None else str(value)
