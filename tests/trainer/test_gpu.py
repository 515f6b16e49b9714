"""On a GPU: the flash kernel and the row copies against fp32 rows taken one at a time.

pytest -m gpu tests/trainer
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from trainer.rows import Row
from trainer.tree import Tree, pack, trees

pytestmark = pytest.mark.gpu


def dialogue_rows(seed: int, turns: int) -> list[Row]:
    draw = random.Random(seed)

    def words(count: int) -> list[int]:
        return [draw.randrange(5, 1000) for _ in range(count)]

    trunk, rows = words(300), []
    for _ in range(turns):
        trunk = trunk + words(draw.randint(40, 80))
        reply = words(draw.randint(60, 120))
        rows.append(Row(trunk, words(draw.randint(150, 300)) + reply))
        trunk = trunk + reply
    return rows


@pytest.fixture(scope="module")
def model() -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=1000, hidden_size=1024, intermediate_size=2048, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=4, head_dim=128,
    )  # fmt: skip
    made = Qwen3ForCausalLM(config).cuda().train()
    with torch.no_grad():
        for name, weights in made.named_parameters():
            if "self_attn" in name and "_proj" in name:
                weights.mul_(2)
    return made


def gradient(model: Any, items: list[Tree], attention: str, *, half: bool, leaky: bool = False) -> Any:
    import torch
    import torch.nn.functional as F

    from trainer.attention import FLEX, FLEX_BLOCK, block_mask
    from trainer.batches import Collator, as_dataset

    model.set_attn_implementation(attention)
    model.zero_grad()
    flex = attention == FLEX
    for trees_of_pack in pack(items, 16384) if half else [[item] for item in items]:
        batch = Collator(intervals=flex, pad_to=FLEX_BLOCK if flex else 1)(list(as_dataset([trees_of_pack])))
        batch.pop("tally")
        batch = {name: value.cuda() if torch.is_tensor(value) else value for name, value in batch.items()}
        labels = batch.pop("labels")
        if flex:
            batch["tree_mask"] = block_mask(batch.pop("tree_intervals"))
        if not half or leaky:
            batch = {name: batch[name] for name in ("input_ids", "position_ids")}
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            logits = model(**batch, use_cache=False).logits[0]
        F.cross_entropy(logits[:-1].float(), labels[0, 1:], ignore_index=-100, reduction="sum").backward()
    return torch.cat([weights.grad.flatten().double() for weights in model.parameters()])


def test_tree_and_rows_in_bf16_are_as_near_to_fp32_as_each_other(model: Any) -> None:
    from trainer.attention import FLEX, TREE

    dialogues = [dialogue_rows(seed, 3 + seed) for seed in range(3)]
    rows = [Tree.of_row(row) for one in dialogues for row in one]
    whole = [tree for one in dialogues for tree in trees(one, 16384)]
    exact = gradient(model, rows, "sdpa", half=False)
    errors = {
        name: ((gradient(model, items, attention, half=True) - exact).norm() / exact.norm()).item()
        for name, items, attention in (("rows", rows, TREE), ("tree", whole, TREE), ("flex", whole, FLEX))
    }
    assert errors["rows"] < 0.02
    assert errors["tree"] < 1.3 * errors["rows"]
    assert errors["flex"] < 1.3 * errors["rows"]
    leaky = gradient(model, whole, "sdpa", half=True, leaky=True)
    assert ((leaky - exact).norm() / exact.norm()).item() > 0.2


def test_row_copies_and_their_sums_are_those_of_torch() -> None:
    import torch

    from trainer.kernels import sum_rows, take_rows

    states = torch.randn(500, 4, 64, device="cuda", dtype=torch.bfloat16)
    index = torch.randint(500, (900,), device="cuda")
    assert torch.equal(take_rows(states, index), states[index])
    grads = torch.randn(900, 4, 64, device="cuda", dtype=torch.bfloat16)
    inverse = torch.argsort(index, stable=True)
    offsets = torch.cat([index.new_zeros(1), torch.bincount(index, minlength=500).cumsum(0)])
    wanted = torch.zeros(500, 4, 64, device="cuda").index_add_(0, index, grads.float())
    assert torch.allclose(sum_rows(grads, inverse, offsets).float(), wanted, rtol=2e-2, atol=2e-2)
    assert torch.equal(sum_rows(grads, inverse, offsets), sum_rows(grads, inverse, offsets))
