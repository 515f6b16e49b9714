"""Packs of trees as datasets, and as the tensors of one step.

A batch is one sequence without padding: all packs of the device's batch behind one another. What is no model input is
in `tally`: what the step holds, for the progress line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from trainer.rows import Ids
from trainer.tree import Tree

Batch = dict[str, Any]


def as_dataset(packs: Iterable[Sequence[Tree]]) -> Dataset:
    """One row a pack: its token ids, labels, and segments as flat (start, length, trunk, prefix)."""
    columns: dict[str, list[np.ndarray]] = {"input_ids": [], "labels": [], "segments": []}
    for trees in packs:
        ids: Ids = []
        labels: Ids = []
        segments: list[tuple[int, int, int, int]] = []
        for tree in trees:
            at = len(ids)
            segments += [(at + start, length, at, prefix) for start, length, prefix in tree.segments]
            ids += tree.ids
            labels += tree.labels
        columns["input_ids"].append(np.array(ids, dtype=np.int32))
        columns["labels"].append(np.array(labels, dtype=np.int32))
        columns["segments"].append(np.array(segments, dtype=np.int32).ravel())
    return Dataset.from_dict(columns)


class Collator:
    """Rows of as_dataset -> input_ids, labels and position_ids [1, tokens], and what trainer.attention needs.

    `intervals` is for FlexAttention: three numbers a token instead of the gathering index. It wants whole blocks, and
    one length to compile for: `pad_to` pads up to a multiple of that many tokens.
    """

    def __init__(self, *, intervals: bool = False, pad_to: int = 1) -> None:
        self._intervals = intervals
        self._pad_to = pad_to

    def __call__(self, packs: Sequence[dict[str, Any]]) -> Batch:
        ids: Ids = []
        labels: Ids = []
        segments: list[tuple[int, int, int, int]] = []
        for pack in packs:
            at = len(ids)
            ids += pack["input_ids"]
            labels += pack["labels"]
            flat = iter(pack["segments"])
            segments += [
                (start + at, length, trunk + at, prefix)
                for start, length, trunk, prefix in zip(*[flat] * 4, strict=True)
            ]
        tally = {
            "tokens": len(ids),
            "labels": sum(label != -100 for label in labels),
            "attended": sum(length * prefix + length * (length + 1) // 2 for _, length, _, prefix in segments),
        }
        if padding := -len(ids) % self._pad_to:
            segments.append((len(ids), padding, len(ids), 0))
            ids += [0] * padding
            labels += [-100] * padding
        batch: Batch = {"input_ids": torch.tensor([ids]), "labels": torch.tensor([labels]), "tally": tally}
        return batch | _layout(segments, self._intervals)


def _layout(segments: list[tuple[int, int, int, int]], intervals: bool) -> Batch:
    arange = torch.arange
    batch: Batch = {
        "position_ids": torch.cat([arange(prefix, prefix + length) for _, length, _, prefix in segments])[None],
    }
    if intervals:
        parts = [
            torch.tensor([[trunk], [trunk + prefix], [start]]).expand(3, length)
            for start, length, trunk, prefix in segments
        ]
        return batch | {"tree_intervals": torch.cat(parts, 1).int()}
    queries = [length for _, length, _, _ in segments]
    keys = [length + prefix for _, length, _, prefix in segments]
    batch |= {
        "cu_seq_lens_q": _offsets(queries),
        "cu_seq_lens_k": _offsets(keys),
        "max_length_q": max(queries),
        "max_length_k": max(keys),
    }
    if any(prefix for *_, prefix in segments):
        taken = torch.cat(
            [
                part
                for start, length, trunk, prefix in segments
                for part in (arange(trunk, trunk + prefix), arange(start, start + length))
            ]
        )
        batch |= {
            "kv_index": taken,
            "kv_inverse": torch.argsort(taken, stable=True),
            "kv_offsets": torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(taken).cumsum(0)]),
        }
    return batch


def _offsets(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32)
