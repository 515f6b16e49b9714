"""Two row copies in Triton, for keys and values [tokens, heads, dim]: gather by an index, and its exact transpose.

Deterministic: every output row is summed by one program, in order, in fp32. Without Triton, or where a row is no power
of two, the same by torch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

if triton is not None:

    @triton.jit
    def _take(source, index, out, width: tl.constexpr):  # type: ignore[no-untyped-def]
        row = tl.program_id(0).to(tl.int64)
        columns = tl.arange(0, width)
        tl.store(out + row * width + columns, tl.load(source + tl.load(index + row) * width + columns))

    @triton.jit
    def _sum(source, inverse, offsets, out, width: tl.constexpr):  # type: ignore[no-untyped-def]
        row = tl.program_id(0).to(tl.int64)
        columns = tl.arange(0, width)
        total = tl.zeros([width], tl.float32)
        for at in range(tl.load(offsets + row), tl.load(offsets + row + 1)):
            total += tl.load(source + tl.load(inverse + at) * width + columns).to(tl.float32)
        tl.store(out + row * width + columns, total)


def take_rows(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """states[index], rows of the first dimension."""
    if _plain(states):
        return states.index_select(0, index)
    out = states.new_empty(len(index), *states.shape[1:])
    _take[(len(index),)](states, index, out, width=states[0].numel())
    return out


def sum_rows(grads: torch.Tensor, inverse: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """What take_rows' gradient is: row i is the sum of grads[inverse[offsets[i] : offsets[i + 1]]]."""
    tokens = len(offsets) - 1
    if _plain(grads):
        flat = F.embedding_bag(inverse, grads.flatten(1), offsets, mode="sum", include_last_offset=True)
        return flat.view(tokens, *grads.shape[1:])
    out = grads.new_empty(tokens, *grads.shape[1:])
    _sum[(tokens,)](grads.contiguous(), inverse, offsets, out, width=grads[0].numel())
    return out


def _plain(states: torch.Tensor) -> bool:
    width = states[0].numel()
    return triton is None or not states.is_cuda or bool(width & (width - 1))
