"""Does this architecture keep branches apart? Tried on two random layers of it, before a GPU hour is spent.

Other words in one branch must not change a single bit outside it; other words in the trunk must change the branches.
A layer that carries a state from token to token (convolution, recurrence) fails the first, one that ignores our
attention the second.
"""

from __future__ import annotations

import copy

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from psyllm.errors import UsageError
from trainer.attention import AS_ROWS, TREE
from trainer.batches import Collator, as_dataset
from trainer.rows import Row
from trainer.tree import trees

VOCABULARY = 128


def small(config: PreTrainedConfig) -> PreTrainedConfig:
    """The same architecture with two layers and few words."""
    little = copy.deepcopy(config)
    text = little.get_text_config()
    text.num_hidden_layers = 2
    text.vocab_size = VOCABULARY
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(text, name, None)
    if getattr(text, "layer_types", None):
        text.layer_types = list(text.layer_types[:2])
    if getattr(text, "intermediate_size", None):
        text.intermediate_size = 64
    return little


def refuse_leaks(config: PreTrainedConfig, name: str) -> None:
    """Raises UsageError if branches would see one another in this architecture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(small(config), dtype=torch.float32, attn_implementation=TREE).eval()
    word = iter(range(1, VOCABULARY))
    first = [next(word) for _ in range(8)]
    second = first + [next(word) for _ in range(8)]
    third = second + [next(word) for _ in range(8)]
    answers = [[next(word) for _ in range(8)] for _ in range(3)]
    rows = [Row(prompt, answer) for prompt, answer in zip((first, second, third), answers, strict=True)]
    (tree,) = trees(rows, VOCABULARY)
    batch = Collator()(list(as_dataset([[tree]])))
    inputs = {key: value for key, value in batch.items() if key not in ("labels", "tally")}

    def logits(at: int | None) -> torch.Tensor:
        ids = inputs["input_ids"].clone()
        if at is not None:
            ids[0, at] = 0
        with torch.no_grad():
            out: torch.Tensor = model(**inputs | {"input_ids": ids}, use_cache=False).logits[0]
        return out

    _trunk, (start, length, _), (other, *_) = tree.segments
    base, branch, root = logits(None), logits(start + length - 1), logits(0)
    outside = torch.ones(len(tree), dtype=torch.bool)
    outside[start : start + length] = False
    if not torch.equal(base[outside], branch[outside]) or torch.equal(base[other:], root[other:]):
        raise UsageError(
            f"{name} ({config.model_type}) does not keep branches of a tree apart",
            hint=AS_ROWS,
        )
