"""A model small enough to train in a second, with Qwen3's own chat template, and dialogues for it to learn."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ |= {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
"""Before torch is imported: threads that spin are slow where cores are shared."""

TEXT = (
    "I feel tired lately. Work keeps piling up, so sleep is short! Could we look at what happened last night? "
    "Name it gently and stay with it; then decide what comes next, one small step at a time."
)
WORDS = TEXT.split()


def dialogue(number: int, turns: int, *, length: int = 12) -> dict[str, Any]:
    """A row of `psyllm export --format messages`, in words drawn by its number."""
    draw = random.Random(number)

    def said(words: int) -> str:
        return " ".join(draw.choices(WORDS, k=words))

    messages = [{"role": "system", "content": "You are careful. " + said(10)}]
    for _ in range(turns):
        messages.append({"role": "user", "content": said(draw.randint(4, length))})
        messages.append(
            {"role": "assistant", "reasoning_content": said(draw.randint(8, 2 * length)), "content": said(length)}
        )
    return {
        "id": f"d{number}",
        "post_id": f"p{number // 2}",
        "messages": messages,
        "modality": "cbt",
        "license": "CC0-1.0",
        "source": "tests",
        "rehearsal": False,
    }


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 of two random layers with a small byte-level vocabulary, saved as a model folder."""
    import torch
    import trl
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny"
    pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    words = Tokenizer(models.BPE())
    words.decoder = decoders.ByteLevel()
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words.train_from_iterator(
        [TEXT + "\n\n\n assistant\nuser\nsystem\n"] * 4,
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )
    tokenizer.add_tokens(["<think>", "</think>"])
    templates = Path(trl.__file__).parent / "chat_templates"
    tokenizer.chat_template = (templates / "qwen3.jinja").read_text(encoding="utf-8")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "self_attn" in name and "_proj" in name:
                weights.mul_(4)  # so that attention matters before anything is learned
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as JSONL; without rows, eight dialogues of two to four turns."""

    def write(rows: list[dict[str, Any]] | None = None, name: str = "corpus.jsonl") -> Path:
        file = tmp_path / name
        rows = [dialogue(n, 2 + n % 3) for n in range(8)] if rows is None else rows
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return file

    return write


RECIPE = {
    "layout": "tree",
    "packing": True,
    "max_length": 1024,
    "eval_share": 0.25,
    "max_steps": 4,
    "learning_rate": 3.0e-3,
    "gradient_checkpointing": False,
    "use_cpu": True,
    "bf16": False,
    "logging_steps": 1,
    "eval_strategy": "no",
    "save_strategy": "no",
    "report_to": "none",
    "seed": 1,
}


class Seen:
    """A watch that remembers."""

    def __init__(self) -> None:
        self.plan: Any = None
        self.facts: dict[str, str] = {}
        self.steps: list[Any] = []
        self.checkpoints: list[str] = []

    def planned(self, plan: Any) -> None:
        self.plan = plan

    def started(self, facts: dict[str, str]) -> None:
        self.facts = facts

    def stepped(self, step: Any) -> None:
        self.steps.append(step)

    def stopping(self) -> None: ...

    def saved(self, checkpoint: str) -> None:
        self.checkpoints.append(checkpoint)


Train = Callable[..., tuple[Any, Seen]]


@pytest.fixture
def sft(tiny: Path, tmp_path: Path) -> Train:
    """Fine-tune the tiny model: sft(data, key=value, ...) -> (outcome, what was seen)."""

    def run(data: Path, *, resume: bool = False, out: str = "out", **keys: Any) -> tuple[Any, Seen]:
        from trainer.sft import Request, train
        from trainer.sources import read_conversations

        recipe = {"model_name_or_path": str(tiny), "output_dir": str(tmp_path / out)} | RECIPE | keys
        seen = Seen()
        return train(Request(recipe, data, read_conversations(data, include_rehearsal=False), resume), seen), seen

    return run


def weights(folder: Path) -> Any:
    """All weights of a model folder, one behind another."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    return torch.cat([tensors[name].flatten().double() for name in sorted(tensors)])
