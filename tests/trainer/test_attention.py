"""Tree, rows and packs give one loss and one gradient; a mask that leaks does not, and models that would leak are
refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from psyllm.errors import UsageError
from tests.trainer.conftest import dialogue
from trainer.rows import Dropped, Encoded, encode
from trainer.sources import read_conversations
from trainer.tree import Tree, pack, trees

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def encoded(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Encoded]:
    from transformers import AutoTokenizer

    corpus = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(dialogue(n, 3 + n)) + "\n" for n in range(3)), encoding="utf-8")
    conversations = read_conversations(corpus, include_rehearsal=False)
    return encode(conversations, AutoTokenizer.from_pretrained(tiny), 4096, Dropped())


def loss_and_gradient(model: Any, inputs: dict[str, Any], labels: Any) -> tuple[float, Any]:
    import torch
    import torch.nn.functional as F

    model.zero_grad()
    logits = model(**inputs, use_cache=False).logits[0]
    loss = F.cross_entropy(logits[:-1], labels[0, 1:], ignore_index=-100, reduction="sum")
    loss.backward()
    return loss.item(), torch.cat([weights.grad.flatten().double() for weights in model.parameters()])


@pytest.fixture(scope="module")
def reference(tiny: Path, encoded: list[Encoded]) -> tuple[float, Any]:
    """Loss and gradient of every row alone, by transformers' own attention."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32, attn_implementation="sdpa")
    total, gradient = 0.0, torch.zeros(())
    for one in encoded:
        for row in one.rows:
            ids = torch.tensor([row.prompt + row.completion])
            labels = torch.tensor([[-100] * len(row.prompt) + row.completion])
            loss, grad = loss_and_gradient(model, {"input_ids": ids}, labels)
            total, gradient = total + loss, gradient + grad
    return total, gradient


@pytest.mark.parametrize("layout", ["tree", "tree, split", "packed rows", "leaky tree"])
def test_loss_and_gradient_equal_those_of_rows_alone(
    tiny: Path, encoded: list[Encoded], reference: tuple[float, Any], layout: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from trainer.attention import TREE
    from trainer.batches import Collator, as_dataset

    if layout == "packed rows":
        items = [Tree.of_row(row) for one in encoded for row in one.rows]
    else:
        items = [tree for one in encoded for tree in trees(one.rows, 250 if "split" in layout else 4096)]
    (everything,) = pack(items, 10**6)
    batch = Collator()(list(as_dataset([everything])))
    labels = batch.pop("labels")
    assert batch.pop("tally")["labels"] == sum(len(row.completion) for one in encoded for row in one.rows)
    if layout == "leaky tree":
        batch = {name: batch[name] for name in ("input_ids", "position_ids")}
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32, attn_implementation=TREE)
    loss, gradient = loss_and_gradient(model, batch, labels)
    error = ((gradient - reference[1]).norm() / reference[1].norm()).item()
    if layout == "leaky tree":
        assert error > 0.05
    else:
        assert error < 1e-5
        assert loss == pytest.approx(reference[0], rel=1e-6)


def test_the_block_mask_of_flex_is_the_same_mask(encoded: list[Encoded]) -> None:
    import torch

    from trainer.attention import FLEX_BLOCK, block_mask
    from trainer.batches import Collator, as_dataset

    (everything,) = pack([tree for one in encoded for tree in trees(one.rows, 4096)], 10**6)
    (row,) = as_dataset([everything])
    batch = Collator(intervals=True, pad_to=FLEX_BLOCK)([row])
    tokens = batch["input_ids"].shape[1]
    assert tokens % FLEX_BLOCK == 0
    seen = torch.zeros(tokens, tokens, dtype=torch.bool)
    flat = iter(row["segments"])
    for start, length, trunk, prefix in zip(*[flat] * 4, strict=True):
        for query in range(start, start + length):
            seen[query, trunk : trunk + prefix] = True
            seen[query, start : query + 1] = True
    for query in range(len(row["input_ids"]), tokens):
        seen[query, len(row["input_ids"]) : query + 1] = True
    mask = block_mask(batch["tree_intervals"])
    index = torch.arange(tokens)
    assert torch.equal(mask.mask_mod(index[:1], index[:1], index[:, None], index[None]), seen)
    blocks = tokens // FLEX_BLOCK
    some = seen.view(blocks, FLEX_BLOCK, blocks, FLEX_BLOCK).permute(0, 2, 1, 3).flatten(2).any(2)
    assert torch.equal(mask.to_dense()[0, 0].bool(), some)


def test_an_architecture_that_carries_a_state_or_slides_a_window_is_refused() -> None:
    from transformers import LlamaConfig, MambaConfig, MistralConfig, Qwen3Config

    from trainer.attention import refuse_unfit
    from trainer.probe import refuse_leaks

    for fit in (Qwen3Config(), LlamaConfig(), MistralConfig(sliding_window=None)):
        refuse_unfit(fit, "fit")
    for unfit, says in (
        (MistralConfig(sliding_window=512), "sliding window of 512"),
        (Qwen3Config(use_sliding_window=True, sliding_window=64, max_window_layers=1), "sliding_attention"),
        (MambaConfig(), "linear_attention"),
    ):
        with pytest.raises(UsageError, match=says) as refused:
            refuse_unfit(unfit, "unfit")
        said = refused.value.hint.split("--set ")[1:]
        assert [setting.count("=") for setting in said] == [1, 1, 1], "one --set a key, as the command takes them"
    small = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32}
    refuse_leaks(Qwen3Config(**small, head_dim=16), "fit")


def test_a_layer_that_leaks_between_branches_is_found_by_trying(tmp_path: Path) -> None:
    from transformers import Lfm2Config

    from trainer.probe import refuse_leaks

    config = Lfm2Config(
        hidden_size=32, num_attention_heads=2, num_key_value_heads=1, intermediate_size=32, num_hidden_layers=2,
        layer_types=["conv", "full_attention"],
    )  # fmt: skip
    with pytest.raises(UsageError, match="does not keep branches of a tree apart"):
        refuse_leaks(config, json.dumps(config.layer_types))


def test_sums_of_copied_rows_are_what_torch_differentiates() -> None:
    import torch

    from trainer.kernels import sum_rows, take_rows

    states = torch.randn(7, 2, 4, requires_grad=True)
    index = torch.tensor([0, 1, 2, 0, 1, 5, 0, 6])
    grads = torch.randn(8, 2, 4)
    taken = take_rows(states, index)
    assert torch.equal(taken, states[index])
    (wanted,) = torch.autograd.grad(states[index], states, grads)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(index).cumsum(0)])
    assert torch.allclose(sum_rows(grads, torch.argsort(index, stable=True), offsets), wanted)
