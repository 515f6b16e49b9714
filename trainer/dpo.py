"""Direct preference optimisation on repaired turns: the kept reply over the draft that the critic sent back.

    train(Request(recipe, source, read_conversations(source, include_rehearsal=False, pairs=True)), watch)

TRL's DPOTrainer does the training, padded and with ordinary attention. Afterwards the held-out pairs (training
pairs if none were held out) are scored once more, to say how far the learned margin is length and no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOTrainer, get_peft_config

from trainer.arguments import DpoArguments, arguments_of
from trainer.card import record, write_card
from trainer.fit import compile_layers
from trainer.flops import cost_of, peak_flops
from trainer.models import load_model, load_tokenizer, locate, quiet, refuse_adapter
from trainer.pairs import PairPlan, Pairs, encode_pairs, length_report, shown
from trainer.sft import Outcome, Request, for_trainer, limited, open_folder, run, stopping
from trainer.sources import manifest, split_by_post
from trainer.watch import Reporter, Tally, Watch

SCORED = 512
"""At most so many pairs are scored after training."""


class PairTrainer(DPOTrainer):
    """DPOTrainer that counts what passes."""

    def __init__(self, *, tally: Tally, **given: Any) -> None:
        super().__init__(**given)
        self._tally = tally

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        if self.model.training:
            lengths = inputs["attention_mask"].sum(1)
            attended = (lengths * (lengths + 1) // 2).sum()
            self._tally.add(int(lengths.sum()), int(inputs["completion_mask"].sum()), int(attended))
        return super().compute_loss(model, inputs, *given, **named)

    def create_model_card(self, *given: Any, **named: Any) -> None:
        """Ours is written at the end, by trainer.card."""


@limited
def train(request: Request, watch: Watch) -> Outcome:
    """Train as the recipe says.

    Raises UsageError for a recipe, pairs or model that do not fit, Failure if memory or the machine gives out.
    """
    quiet()
    arguments, model_config = arguments_of(DpoArguments, request.recipe)
    folder = Path(arguments.output_dir)
    train_side, held_side = split_by_post(request.conversations, arguments.eval_share, arguments.seed)
    name = locate(model_config.model_name_or_path)
    refuse_adapter(name)
    tokenizer = load_tokenizer(name, arguments.chat_template_path)
    pairs = encode_pairs(train_side, tokenizer, arguments.max_length)
    held = encode_pairs(held_side, tokenizer, arguments.max_length) if held_side else None
    watch.planned(PairPlan(arguments.max_length, pairs, held))
    facts = record("dpo", request.recipe, manifest(train_side, held_side, request.source))
    checkpoint, torn = open_folder(folder, facts, resume=request.resume)
    attention = model_config.attn_implementation or "sdpa"
    model = load_model(model_config, name, attention)
    if arguments.compile_layers:
        compile_layers(model)
    tally = Tally()
    reporter = Reporter(watch, tally, peak_flops())
    trainer = PairTrainer(
        tally=tally,
        model=model,
        args=for_trainer(arguments, evaluates=held is not None),
        train_dataset=Dataset.from_list(pairs.rows),
        eval_dataset=Dataset.from_list(held.rows) if held else None,
        processing_class=tokenizer,
        peft_config=get_peft_config(model_config),
        callbacks=[reporter, *stopping(arguments, held is not None)],
    )
    trainer.remove_callback(PrinterCallback)
    tally.cost = cost_of(trainer.model)
    watch.started(
        {
            "model": name,
            "reference": "the same, before training",
            "beta": str(arguments.beta),
            "attention": attention,
            "going on from": str(checkpoint or ""),
            "removed interrupted save": ", ".join(path.name for path in torn),
        }
    )
    result = run(trainer, reporter, checkpoint)
    log = trainer.state.log_history
    outcome = Outcome(
        folder,
        trainer.state.global_step,
        result.training_loss,
        next((entry["eval_loss"] for entry in reversed(log) if "eval_loss" in entry), None),
        reporter.interrupted,
        log,
        {} if reporter.interrupted else _scored(trainer, held or pairs, name, arguments.beta),
    )
    if not reporter.interrupted:
        trainer.save_model()
    if trainer.is_world_process_zero():
        write_card(folder, facts, log, finished=not reporter.interrupted, extra=_section(outcome.report))
    return outcome


def _scored(trainer: PairTrainer, pairs: Pairs, name: str, beta: float) -> dict[str, Any]:
    """Reference, beta, lengths, and how far the margins follow length; margins only on one process."""
    report = {"reference": name, "beta": beta} | pairs.lengths()
    if trainer.args.world_size > 1:
        return report
    rows = Dataset.from_list(pairs.rows[:SCORED])
    margins: list[float] = []
    prepared = trainer._prepare_dataset(rows, trainer.processing_class, trainer.args, "scored")
    for batch in map(trainer._prepare_inputs, trainer.get_eval_dataloader(prepared)):
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        trainer.model.eval()
        with torch.no_grad(), trainer.compute_loss_context_manager():
            learned = trainer.model(**inputs, labels=labels, use_cache=False, fused_lm_head=True).log_probs.sum(1)
        reference = torch.cat(trainer.compute_ref_log_probs(trainer.ref_model or trainer.model, batch))
        chosen, rejected = (beta * (learned - reference)).chunk(2)
        margins += (chosen - rejected).tolist()
    count = len(margins)
    return report | length_report(margins, pairs.chosen_tokens[:count], pairs.rejected_tokens[:count])


def _section(report: dict[str, Any]) -> str:
    """The card's section on preference: lengths and what became of them."""
    rows = [f"| {name.replace('_', ' ')} | {shown(value)} |" for name, value in report.items()]
    return "\n".join(["## Preference", "", "| | |", "|---|---|", *rows]) if rows else ""
