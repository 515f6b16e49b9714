"""A small model from random weights on an exported corpus: does held-out loss fall, and is a resumed run the same run?

    psyllm export runs/big --out corpus.jsonl --include-rehearsal
    python bench/train_from_scratch.py corpus.jsonl --steps 200

On a GPU or, smaller, on a CPU. Vocabulary and weights are made from the corpus, so nothing is downloaded. Trains three
times: tree and rows for the same number of passes over the data, then tree again, stopped half way and gone on with.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from trainer.models import TEMPLATES
from trainer.sft import Outcome, Request, train
from trainer.sources import read_conversations

GPU = torch.cuda.is_available()
ALPHABET = pre_tokenizers.ByteLevel.alphabet()


class Quiet:
    """Keeps the last speed."""

    tokens_per_second = 0.0

    def planned(self, plan: Any) -> None: ...

    def stopping(self) -> None: ...

    def started(self, facts: dict[str, str]) -> None: ...

    def stepped(self, step: Any) -> None:
        self.tokens_per_second = step.tokens_per_second

    def saved(self, checkpoint: str) -> None: ...


def make_model(corpus: Path, folder: Path) -> None:
    """A byte-level vocabulary of the corpus and a random Qwen3 of 40M (GPU) or 1M weights."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    learned = trainers.BpeTrainer(
        vocab_size=8192, special_tokens=special, initial_alphabet=ALPHABET, show_progress=False
    )
    lines = corpus.read_text(encoding="utf-8").splitlines()[:2000]
    words.train_from_iterator((m["content"] for line in lines for m in json.loads(line)["messages"]), learned)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = (TEMPLATES / "smollm2.jinja").read_text(encoding="utf-8")
    tokenizer.save_pretrained(folder)
    width, layers = (512, 12) if GPU else (64, 2)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=max(16, width // 8),
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--work", type=Path, default=Path("trained/from-scratch"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    shutil.rmtree(given.work, ignore_errors=True)
    make_model(given.corpus, given.work / "model")
    conversations = read_conversations(given.corpus, include_rehearsal=True)
    half = given.steps // 2
    base = {
        "model_name_or_path": str(given.work / "model"),
        "max_length": 4096,
        "eval_share": 0.1,
        "max_steps": given.steps,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "gradient_checkpointing": False,
        "bf16": GPU,
        "use_cpu": not GPU,
        "full_determinism": GPU,
        "eval_strategy": "steps",
        "eval_steps": half,
        "save_strategy": "steps",
        "save_steps": half,
        "logging_steps": 1,
        "report_to": "none",
    }

    def run(name: str, *, resume: bool = False, **keys: Any) -> tuple[Outcome, float, float]:
        recipe = base | {"output_dir": str(given.work / name)} | keys
        began, quiet = time.perf_counter(), Quiet()
        outcome = train(Request(recipe, given.corpus, conversations, resume), quiet)
        return outcome, time.perf_counter() - began, quiet.tokens_per_second

    tree, tree_s, speed = run("tree")
    rows, rows_s, rows_speed = run("rows", layout="rows")
    shutil.copytree(given.work / "tree", given.work / "resumed")
    shutil.rmtree(given.work / "resumed" / f"checkpoint-{given.steps}")
    (given.work / "resumed" / "model.safetensors").unlink()
    run("resumed", resume=True)
    first, second = (load_file(given.work / name / "model.safetensors") for name in ("tree", "resumed"))
    held = [entry["eval_loss"] for entry in tree.log if "eval_loss" in entry]
    result = {
        "device": torch.cuda.get_device_name() if GPU else "cpu",
        "torch": torch.__version__,
        "steps": given.steps,
        "first_loss": tree.log[0]["loss"],
        "held_out_loss": held,
        "held_out_loss_rows": rows.eval_loss,
        "seconds": {"tree": round(tree_s, 1), "rows": round(rows_s, 1)},
        "tokens_per_second": {"tree": round(speed), "rows": round(rows_speed)},
        "held_out_loss_fell": held[-1] < held[0] < tree.log[0]["loss"],
        "resume_bit_identical": all(torch.equal(first[name], second[name]) for name in first),
    }
    print(json.dumps(result, indent=2))
    given.out.mkdir(parents=True, exist_ok=True)
    device = str(result["device"]).lower().replace(" ", "-")
    (given.out / f"from-scratch-{device}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
