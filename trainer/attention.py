"""Attention for packs of trees, registered with transformers under two names.

`psyllm_tree`, the default: keys and values are copied to the per-row order by one index, and one variable-length flash
kernel does the rest, causal aligned bottom-right. No mask exists. The kernel is the one in torch (FlashAttention 2), or
FlashAttention 3 or 4 where installed (`use_newest_flash`). On a CPU the same index arrays, one segment at a time.
`psyllm_flex`: FlexAttention over a block mask made from three numbers a token, for packs of one fixed length.

Query i of a segment sees the first `prefix` tokens of its trunk and its own segment up to i. Every batch must come from
trainer.batches: a model under another attention name would run on these batches with a wrong mask and no error, which
`refuse_unfit` and the trainer's own check prevent.
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformers import AttentionInterface, PreTrainedConfig

from psyllm.errors import UsageError
from trainer.kernels import sum_rows, take_rows

TREE, FLEX = "psyllm_tree", "psyllm_flex"
FLEX_BLOCK = 128
AS_ROWS = "train on rows: --set layout=rows --set packing=false --set attn_implementation=sdpa"


def use_newest_flash() -> str:
    """Let torch's flash operators run FlashAttention 4 or 3 if installed for this GPU; returns what will run."""
    if not torch.cuda.is_available():
        return "torch, on the CPU"
    activate = getattr(torch.nn.attention, "activate_flash_attention_impl", None)
    major = torch.cuda.get_device_capability()[0]
    if activate and major == 10 and find_spec("flash_attn.cute"):
        activate("FA4")
        return "FlashAttention 4"
    if activate and major == 9 and find_spec("flash_attn_interface"):
        activate("FA3")
        return "FlashAttention 3"
    return "FlashAttention 2, in torch"


def refuse_unfit(config: PreTrainedConfig, name: str) -> None:
    """Raises UsageError for a model that branches would be wrong for: sliding windows, or layers that carry a state."""
    text = config.get_text_config()
    odd = sorted({kind for kind in getattr(text, "layer_types", None) or () if kind != "full_attention"})
    window = getattr(text, "sliding_window", None)
    if not odd and window and getattr(text, "use_sliding_window", True):
        odd = [f"sliding window of {window}"]
    if not odd and getattr(text, "num_attention_heads", None) is None:
        odd = ["no attention"]
    if odd:
        raise UsageError(
            f"{name} ({text.model_type}) has layers that a tree would be wrong for: {', '.join(odd)}",
            hint=AS_ROWS,
        )


@torch.library.custom_op("psyllm::tree_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    index: Tensor | None,
    inverse: Tensor | None,
    offsets: Tensor | None,
    max_q: int,
    max_k: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """q [tokens, heads, dim], k and v [tokens, kv heads, dim] -> out like q, log-sum-exp [heads, tokens]."""
    if index is not None:
        k, v = take_rows(k, index), take_rows(v, index)
    out, lse, *_ = torch.ops.aten._flash_attention_forward(
        q, k, v, cu_q, cu_k, max_q, max_k, 0.0, True, False, scale=scale
    )
    return out, lse


@_forward.register_fake
def _(q: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), q.new_empty(q.shape[1], q.shape[0], dtype=torch.float32)


@torch.library.custom_op("psyllm::tree_attention_backward", mutates_args=())
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    index: Tensor | None,
    inverse: Tensor | None,
    offsets: Tensor | None,
    max_q: int,
    max_k: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    state = torch.zeros(2, dtype=torch.uint64, device=q.device)  # of the dropout that there is none of
    taken = (k, v) if index is None else (take_rows(k, index), take_rows(v, index))
    dq, dk, dv = torch.ops.aten._flash_attention_backward(
        grad, q, *taken, out, lse, cu_q, cu_k, max_q, max_k, 0.0, True, state, state.new_empty(0), scale=scale
    )
    if inverse is not None and offsets is not None:
        dk, dv = sum_rows(dk, inverse, offsets), sum_rows(dv, inverse, offsets)
    return dq, dk, dv


@_backward.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, cu_q, cu_k, index, inverse, offsets, *ctx.numbers = inputs
    ctx.save_for_backward(q, k, v, *output, cu_q, cu_k, index, inverse, offsets)  # k and v as they were: no copies


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
    return (*torch.ops.psyllm.tree_attention_backward(grad.contiguous(), *ctx.saved_tensors, *ctx.numbers), *[None] * 8)


_forward.register_autograd(_differentiate, setup_context=_remember)


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    cu_seq_lens_k: Tensor | None = None,
    max_length_q: int = 0,
    max_length_k: int = 0,
    kv_index: Tensor | None = None,
    kv_inverse: Tensor | None = None,
    kv_offsets: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: query [1, heads, tokens, dim] -> [1, tokens, heads, dim].

    Without the collator's arrays (generation, evaluation on plain text): ordinary causal attention.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if cu_seq_lens_q is None or cu_seq_lens_k is None:
        return _plain(query, key, value, attention_mask, scale), None
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    if not q.is_cuda:
        return _one_by_one(q, k, v, cu_seq_lens_q, cu_seq_lens_k, kv_index, scale)[None], None
    q, k, v = (states.to(torch.bfloat16).contiguous() for states in (q, k, v))
    arrays = (cu_seq_lens_q, cu_seq_lens_k, kv_index, kv_inverse, kv_offsets)
    out, _lse = torch.ops.psyllm.tree_attention(q, k, v, *arrays, max_length_q, max_length_k, scale)
    return out[None].to(value.dtype), None


def _one_by_one(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, index: Tensor | None, scale: float
) -> Tensor:
    if index is not None:
        k, v = k[index], v[index]
    groups = q.shape[1] // k.shape[1]
    k, v = (states.repeat_interleave(groups, 1) for states in (k, v))
    outs = []
    bounds = zip(cu_q[:-1].tolist(), cu_q[1:].tolist(), cu_k[:-1].tolist(), cu_k[1:].tolist(), strict=True)
    for q0, q1, k0, k1 in bounds:
        prefix = (k1 - k0) - (q1 - q0)
        seen = torch.ones(q1 - q0, k1 - k0, dtype=torch.bool).tril(prefix) if prefix else None
        queries, keys, values = (states.transpose(0, 1)[None] for states in (q[q0:q1], k[k0:k1], v[k0:k1]))
        out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen, is_causal=not prefix, scale=scale)
        outs.append(out[0].transpose(0, 1))
    return torch.cat(outs)


def _plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    causal = mask is None and query.shape[2] > 1
    out = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
    )
    return out.transpose(1, 2).contiguous()


def block_mask(intervals: Tensor) -> BlockMask:
    """FlexAttention's mask from intervals [3, tokens]: query i sees [a0, a1) and [b0, i]. tokens is a whole number of
    blocks. Costs tokens * tokens / block instead of the square."""
    tokens = intervals.shape[1]
    blocks = tokens // FLEX_BLOCK
    a0, a1, b0 = (row[:, None] for row in intervals)
    query = torch.arange(tokens, device=intervals.device)[:, None]
    low = torch.arange(blocks, device=intervals.device)[None] * FLEX_BLOCK
    high = low + FLEX_BLOCK - 1
    some = ((a0 <= high) & (a1 > low) & (a1 > a0)) | ((b0 <= high) & (query >= low))
    every = ((a0 <= low) & (a1 > high)) | ((b0 <= low) & (query >= high))
    some = some.view(blocks, FLEX_BLOCK, blocks).any(1)
    full = every.view(blocks, FLEX_BLOCK, blocks).all(1)
    first, end, own = (row.contiguous() for row in intervals)

    def sees(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return ((k >= first[q]) & (k < end[q])) | ((k >= own[q]) & (k <= q))

    return BlockMask.from_kv_blocks(
        *_listed(some & ~full), *_listed(full), BLOCK_SIZE=FLEX_BLOCK, mask_mod=sees, seq_lengths=(tokens, tokens)
    )


def _listed(mask: Tensor) -> tuple[Tensor, Tensor]:
    order = mask.int().argsort(dim=1, descending=True, stable=True)
    return mask.sum(1).int()[None, None], order.int()[None, None]


@cache
def _compiled_flex() -> Any:
    """Compiled on first use: that alone imports for seconds."""
    return torch.compile(flex_attention, dynamic=False)


def flex_tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    tree_mask: BlockMask | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Like tree_attention, over the block mask that the trainer makes of a batch."""
    if tree_mask is None:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return _plain(query, key, value, attention_mask, scale), None
    kind = value.dtype
    if query.is_cuda:
        query, key, value = (states.to(torch.bfloat16).contiguous() for states in (query, key, value))
    run = flex_attention if torch.compiler.is_compiling() or not query.is_cuda else _compiled_flex()
    out = run(query, key, value, block_mask=tree_mask, scale=scaling, enable_gqa=True)
    return out.transpose(1, 2).contiguous().to(kind), None


AttentionInterface.register(TREE, tree_attention)
AttentionInterface.register(FLEX, flex_tree_attention)
