"""What training costs: our trainer on random weights and words, against TRL's defaults in the same process.

    python bench/train.py --shape 1.7b                     a GPU; each result is written as it comes
    python bench/train.py --shape 8b --only tree
    python bench/train.py --smoke                          a CPU, to see that it runs
    PYTHONPATH=. python bench/train.py ...                 where psyllm is not installed, with psyllm.egg-info beside it

Dialogues have the token counts that grown ones have: system ~300, client ~60, thinking ~250, reply ~100. MFU* is model
FLOPs (trainer/flops.py: no credit for padding or recomputing) over the matmul rate measured at the start. Needs torch
2.11 or later, transformers, trl and datasets.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import datasets
import numpy as np
import torch
import transformers
import trl
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config, TrainerCallback

from trainer.attention import FLEX, FLEX_BLOCK, TREE, use_newest_flash
from trainer.batches import Collator, as_dataset
from trainer.fit import TreeTrainer, compile_layers
from trainer.flops import cost_of
from trainer.rows import Row
from trainer.tree import Tree, pack, trees
from trainer.watch import Tally

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"

SHAPES: dict[str, dict[str, Any]] = {
    "1.7b": {"hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16, "intermediate_size": 6144},
    "8b": {"hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "intermediate_size": 12288},
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128},
}


@dataclass(frozen=True)
class Case:
    """One way to train."""

    name: str
    turns: tuple[int, int] = (3, 6)
    """Counsellor turns of a dialogue, least and most."""
    layout: str = "tree"
    """tree, rows, or trl: rows by TRL's own collator."""
    pack: int = 16384
    """Tokens of a pack; 0: no packing."""
    batch: int = 1
    attention: str = TREE
    compiled: bool = True
    checkpointing: bool = False
    dtype: str = "float32"
    optim: str = "adamw_torch_fused"
    lora: bool = False
    accumulate: int = 1


def cases(shape: str) -> list[Case]:
    """What is measured, the plain ways first."""
    plain = {"layout": "trl", "pack": 0, "attention": "sdpa", "compiled": False, "checkpointing": True}
    if shape == "8b":
        whole = {"dtype": "bfloat16", "optim": "adafactor", "compiled": False, "checkpointing": True, "pack": 8192}
        found = [
            Case("TRL defaults, batch 1", **plain | {"dtype": "bfloat16", "optim": "adafactor"}),
            Case("TRL padded, batch 4", **plain | {"dtype": "bfloat16", "optim": "adafactor", "batch": 4}),
        ]
        for turns in ((3, 6), (6, 10)):
            for layout in ("rows", "tree"):
                name = f"{layout} {turns[0]}-{turns[1]}"
                found.append(Case(f"{name}, 8192, adafactor", turns, layout, **whole))
                steps = {"optim": "adamw_torch_fused", "accumulate": 2, "compiled": True}
                found.append(Case(f"{name}, 8192, bf16 AdamW, compiled", turns, layout, **whole | steps))
                found.append(
                    Case(f"{name}, 8192, LoRA", turns, layout, **whole | {"optim": "adamw_torch_fused", "lora": True})
                )
        return found
    found = [Case("TRL defaults, batch 1", **plain), Case("TRL padded, batch 4", **plain | {"batch": 4})]
    for turns in ((3, 6), (6, 10), (1, 1), (2, 2), (12, 16)):
        label = f"{turns[0]}-{turns[1]}"
        found += [Case(f"{layout} {label}, 16384", turns, layout) for layout in ("rows", "tree")]
        if turns in ((3, 6), (6, 10)):
            found.append(Case(f"flex {label}, 16384", turns, attention=FLEX))
            found += [Case(f"{layout} {label}, 8192", turns, layout, 8192) for layout in ("rows", "tree")]
            found += [
                Case(f"{layout} {label}, 16384, ckpt", turns, layout, checkpointing=True) for layout in ("rows", "tree")
            ]
    return found


@dataclass
class Result:
    """One case, measured."""

    case: dict[str, Any]
    loss_tokens_per_s: int = 0
    tokens_per_s: int = 0
    mfu: float = 0.0
    """MFU*: model FLOPs over the measured matmul rate."""
    step_ms: float = 0.0
    spread_ms: list[float] = field(default_factory=list)
    """Fastest and slowest step."""
    peak_gib: float = 0.0
    fill: float = 0.0
    """Tokens of a pack over its length."""
    labels: float = 0.0
    """Share of tokens that loss falls on."""
    loss: float = 0.0
    error: str = ""


def dialogues(count: int, turns: tuple[int, int], vocabulary: int, scale: float) -> Iterator[list[Row]]:
    """Per-turn rows of random words; lengths are lognormal around what grown dialogues have."""
    draw = np.random.default_rng(0)

    def words(mean: float) -> list[int]:
        length = max(2, int(mean * scale * draw.lognormal(-0.06, 0.35)))
        return draw.integers(5, vocabulary, length).tolist()  # type: ignore[no-any-return, unused-ignore]

    for _ in range(count):
        trunk, rows = words(305), []
        for _ in range(draw.integers(turns[0], turns[1] + 1)):
            trunk = trunk + words(68)
            reply = words(102)
            rows.append(Row(trunk, words(254) + reply))
            trunk = trunk + reply
        yield rows


class Clock(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Seconds of each optimizer step, and what the tally held after it."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self._began = tally, 0.0
        self.seconds: list[float] = []
        self.totals: list[tuple[int, int, float]] = [(0, 0, 0.0)]

    def on_step_begin(self, *_given: Any, **_named: Any) -> None:
        _settle()
        self._began = time.perf_counter()

    def on_step_end(self, *_given: Any, **_named: Any) -> None:
        _settle()
        self.seconds.append(time.perf_counter() - self._began)
        self.totals.append((self._tally.tokens, self._tally.labels, self._tally.flops))


class Baseline(trl.SFTTrainer):  # type: ignore[misc, unused-ignore]
    """TRL as it is, counted."""

    def __init__(self, *, tally: Tally, **given: Any) -> None:
        super().__init__(**given)
        self._tally = tally

    def compute_loss(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        lengths = inputs["attention_mask"].sum(1)
        pairs = int((lengths * (lengths + 1) // 2).sum())
        self._tally.add(int(lengths.sum()), int((inputs["labels"] != -100).sum()), pairs)
        return super().compute_loss(model, inputs, *given, **named)


def _settle() -> None:
    if GPU:
        torch.cuda.synchronize()


def matmul_rate() -> float:
    """FLOP/s of a large bf16 product here: what MFU* is a share of."""
    size = 8192 if GPU else 512
    a, b = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        _settle()
        began = time.perf_counter()
        a @ b
        _settle()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def _tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {f"t{i}": i for i in range(900)} | {"<|im_end|>": 900, "<|endoftext|>": 901}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="t0"))
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _model(shape: str, case: Case) -> Any:
    torch.manual_seed(0)
    small = shape == "tiny"
    config = Qwen3Config(
        **SHAPES[shape],
        num_key_value_heads=2 if small else 8,
        head_dim=16 if small else 128,
        vocab_size=1000 if small else 151936,
        tie_word_embeddings=shape != "8b",
        max_position_embeddings=40960,
        use_cache=False,
    )
    with torch.device(DEVICE):
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, case.dtype), attn_implementation=case.attention
        )
    if case.compiled and GPU:
        compile_layers(model)
    return model


def _data(case: Case, steps: int, vocabulary: int, scale: float) -> tuple[datasets.Dataset, float]:
    """(rows for the trainer, fill of the packs); enough for `steps` optimizer steps, shuffled."""
    length = int(case.pack * scale)
    per_dialogue = sum(case.turns) / 2 * 400 + 500
    wanted = steps * case.accumulate * case.batch
    count = int(wanted * 1.5 * case.pack / per_dialogue) + 16 if case.pack else wanted + 4
    made = list(dialogues(count, case.turns, vocabulary, scale))
    if case.layout == "trl":
        rows = [row for one in made for row in one]
        order = np.random.default_rng(0).permutation(len(rows))[:wanted]
        columns = [
            {"input_ids": r.prompt + r.completion, "labels": [-100] * len(r.prompt) + r.completion} for r in rows
        ]
        return datasets.Dataset.from_list([columns[i] for i in order]), 1.0
    items = [tree for one in made for tree in (trees(one, length) if case.layout == "tree" else map(Tree.of_row, one))]
    packs = pack([tree for tree in items if len(tree) <= length], length)
    fill = sum(len(tree) for one in packs for tree in one) / len(packs) / length
    order = np.random.default_rng(0).permutation(len(packs))
    return as_dataset([packs[i] for i in order][:wanted]), fill


def measure(case: Case, shape: str, rate: float, warm: int, steps: int) -> Result:
    """Train for a few steps. What goes wrong is in the result."""
    gc.collect()
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    result = Result(asdict(case) | {"shape": shape})
    scale = 1.0 if GPU else 0.02
    tally = Tally()
    clock = Clock(tally)
    model = _model(shape, case)
    data, result.fill = _data(case, warm + steps, model.config.vocab_size, scale)
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.SFTConfig(
            output_dir=folder,
            max_steps=warm + steps,
            per_device_train_batch_size=case.batch,
            gradient_accumulation_steps=case.accumulate,
            gradient_checkpointing=case.checkpointing,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            optim=case.optim,
            bf16=GPU,
            use_cpu=not GPU,
            max_length=None,
            dataset_kwargs=None if case.layout == "trl" else {"skip_prepare_dataset": True},
            remove_unused_columns=case.layout == "trl",
            save_strategy="no",
            report_to="none",
            logging_steps=1,
            disable_tqdm=True,
            seed=0,
        )
        given: dict[str, Any] = {
            "model": model,
            "args": arguments,
            "train_dataset": data,
            "processing_class": _tokenizer(),
            "callbacks": [clock],
            "tally": tally,
        }
        if case.lora:
            from peft import LoraConfig

            given["peft_config"] = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        if case.layout == "trl":
            fitter: Any = Baseline(**given)
        else:
            flex = case.attention == FLEX
            length = -(-int(case.pack * scale) // FLEX_BLOCK) * FLEX_BLOCK
            collator = Collator(intervals=flex, pad_to=length if flex else 1)
            fitter = TreeTrainer(**given, attention=case.attention, held_labels=0, data_collator=collator)
        fitter.remove_callback(transformers.PrinterCallback)
        tally.cost = cost_of(fitter.model)
        fitter.train()
        losses = [entry["loss"] for entry in fitter.state.log_history if "loss" in entry]
        fitter.model = fitter.model_wrapped = None
    seconds = clock.seconds[warm:]
    tokens, labels, flops = (end - start for start, end in zip(clock.totals[warm], clock.totals[-1], strict=True))
    total = sum(seconds)
    result.loss_tokens_per_s, result.tokens_per_s = round(labels / total), round(tokens / total)
    result.mfu = round(flops / total / rate, 4)
    result.step_ms = round(1e3 * median(seconds), 1)
    result.spread_ms = [round(1e3 * min(seconds), 1), round(1e3 * max(seconds), 1)]
    result.peak_gib = round(torch.cuda.max_memory_allocated() / 2**30, 1) if GPU else 0.0
    result.labels, result.loss, result.fill = (
        round(labels / tokens, 3),
        round(float(losses[-1]), 3),
        round(result.fill, 3),
    )
    return result


def table(results: list[Result]) -> str:
    """Markdown, one line a case."""
    lines = ["| case | loss tokens/s | tokens/s | MFU* | step ms | GiB | fill | labels |", "|" + "---|" * 8]
    for r in results:
        if r.error:
            lines.append(f"| {r.case['name']} | {r.error[:80]} |||||||")
        else:
            lines.append(
                f"| {r.case['name']} | {r.loss_tokens_per_s:,} | {r.tokens_per_s:,} | {r.mfu:.1%} | {r.step_ms:,} |"
                f" {r.peak_gib} | {r.fill:.0%} | {r.labels:.0%} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["1.7b", "8b"], default="1.7b")
    parser.add_argument("--only", default="", help="TRL's defaults, and the cases whose name holds these words")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--deadline", type=float, default=540, help="seconds; no case starts later")
    parser.add_argument("--warm", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--smoke", action="store_true", help="a tiny shape, two steps")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("trl").setLevel(logging.ERROR)
    transformers.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    if not GPU and not given.smoke:
        raise SystemExit("no GPU here; --smoke shows that it runs")
    shape, warm, steps = ("tiny", 1, 2) if given.smoke else (given.shape, given.warm, given.steps)
    device = torch.cuda.get_device_name() if GPU else f"cpu {platform.machine()}"
    rate, began = matmul_rate(), time.perf_counter()
    where = f"{device}, torch {torch.__version__}, transformers {transformers.__version__}, trl {trl.__version__}"
    where += f", kernel {use_newest_flash()}, matmul {rate / 1e12:.0f} TFLOP/s"
    print(where, flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    name = f"train-{shape}-{device.lower().replace(' ', '-')}"
    results = []
    with (given.out / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        for case in cases(given.shape):
            if (given.only not in case.name and case.layout != "trl") or (given.smoke and case.attention == FLEX):
                continue
            if time.perf_counter() - began > given.deadline:
                print(f"left out: {case.name}", flush=True)
                continue
            try:
                result = measure(case, shape, rate, warm, steps)
            except (RuntimeError, ValueError, TypeError, AttributeError) as error:  # the next case may well run
                result = Result(asdict(case) | {"shape": shape}, error=f"{type(error).__name__}: {str(error)[:300]}")
            results.append(result)
            file.write(json.dumps({"where": where} | asdict(result)) + "\n")
            file.flush()
            print(table([result]).splitlines()[-1], flush=True)
    (given.out / f"{name}.md").write_text(f"{where}\n\n{table(results)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
