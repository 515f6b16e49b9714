"""Supervised fine-tuning: a recipe and a corpus in, a model folder out.

    train(Request(recipe, source, read_conversations(source, include_rehearsal=False)), watch)

TRL's SFTTrainer does the training. What is ours happens before it (rows, trees, packs), in the collator and in the
attention that the model is loaded with.
"""

from __future__ import annotations

import copy
import errno
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from transformers import EarlyStoppingCallback, PrinterCallback
from transformers.integrations import is_deepspeed_zero3_enabled
from trl import ModelConfig, get_peft_config

from psyllm.errors import Failure, UsageError
from trainer.arguments import Ours, SftArguments, arguments_of
from trainer.attention import FLEX, FLEX_BLOCK, TREE, refuse_unfit, use_newest_flash
from trainer.batches import Collator, as_dataset
from trainer.card import record, write_card
from trainer.checkpoints import start, whole_checkpoints
from trainer.fit import TreeTrainer, compile_layers
from trainer.flops import cost_of, cpu_flops, peak_flops
from trainer.models import load_config, load_model, load_tokenizer, locate, quiet, refuse_adapter
from trainer.plan import Plan, make_plan
from trainer.probe import refuse_leaks
from trainer.recipe import Recipe
from trainer.sources import Conversation, manifest, split_by_post
from trainer.watch import Reporter, Tally, Watch


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    recipe: Recipe
    source: Path
    conversations: Sequence[Conversation]
    """What was read from there."""
    resume: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    folder: Path
    steps: int
    loss: float
    """Mean training loss of this session; 0 if no step was left."""
    eval_loss: float | None
    interrupted: bool
    """Stopped by Ctrl-C, with a checkpoint to go on from."""
    log: list[dict[str, Any]]
    """The trainer's log entries, of all sessions."""
    report: dict[str, Any] = field(default_factory=dict)
    """What the stage measured beyond the loss: dpo's lengths and margins."""


Train = Callable[[Request, Watch], Outcome]
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def limited(train: Train) -> Train:
    """`train` whose memory or disk gives out raises a Failure that says what to do first."""

    @functools.wraps(train)
    def run(request: Request, watch: Watch) -> Outcome:
        try:
            return train(request, watch)
        except (OSError, RuntimeError, MemoryError, SafetensorError) as error:
            reason = str(error).strip().partition("\n")[0]
            if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in reason:
                knobs = ["a smaller max_length", "LoRA (--set use_peft=true)", "more GPUs (docs/training.md)"]
                if not request.recipe.get("gradient_checkpointing", True):
                    knobs.insert(0, "--set gradient_checkpointing=true")
                raise Failure("training", "out of memory", hint="in this order: " + ", ".join(knobs)) from error
            full = isinstance(error, OSError) and error.errno in FULL
            if full or isinstance(error, SafetensorError) or "PytorchStreamWriter" in reason:
                folder = request.recipe.get("output_dir")
                again = "make room; --resume then goes on from the last checkpoint that was saved whole"
                raise Failure("training", f"{folder} cannot be written: {reason}", hint=again) from error
            raise

    return run


@limited
def train(request: Request, watch: Watch) -> Outcome:
    """Train as the recipe says.

    Raises UsageError for a recipe, conversations or a model that do not fit, Failure if memory or disk gives out.
    """
    quiet()
    arguments, model_config = arguments_of(SftArguments, request.recipe)
    folder = Path(arguments.output_dir)
    train_side, held = split_by_post(request.conversations, arguments.eval_share, arguments.seed)
    name = locate(model_config.model_name_or_path)
    refuse_adapter(name)
    attention = _attention(arguments, model_config, name)
    tokenizer = load_tokenizer(name, arguments.chat_template_path)
    plan = make_plan(
        train_side,
        held,
        tokenizer,
        layout=arguments.layout,
        max_length=arguments.max_length,
        packing=arguments.packing,
    )
    watch.planned(plan)
    facts = record("sft", request.recipe, manifest(train_side, held, request.source))
    checkpoint, torn = open_folder(folder, facts, resume=request.resume)
    model = load_model(model_config, name, attention)
    if arguments.compile_layers:
        compile_layers(model)
    tally = Tally()
    reporter = Reporter(watch, tally, peak_flops())
    trainer = TreeTrainer(
        attention=attention,
        tally=tally,
        held_labels=plan.held.labels if plan.held else 0,
        model=model,
        args=_for_trl(arguments, plan),
        train_dataset=as_dataset(plan.train.packs),
        eval_dataset=as_dataset(plan.held.packs) if plan.held else None,
        data_collator=Collator(intervals=attention == FLEX, pad_to=_padding(attention, arguments)),
        processing_class=tokenizer,
        peft_config=get_peft_config(model_config),
        callbacks=[reporter, *stopping(arguments, plan.held is not None)],
    )
    trainer.remove_callback(PrinterCallback)
    tally.cost = cost_of(trainer.model)
    if arguments.use_cpu:
        packs = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
        epoch = tally.cost(plan.train.tokens, plan.train.labels, plan.train.attended)
        reporter.step_seconds = epoch * packs / len(plan.train.packs) / cpu_flops(trainer.model)
    watch.started(
        {
            "model": name,
            "attention": f"{attention} ({use_newest_flash()})",
            "going on from": str(checkpoint or ""),
            "removed interrupted save": ", ".join(path.name for path in torn),
        }
    )
    trainer.count_on(checkpoint)
    log = run(trainer, reporter, checkpoint)
    outcome = Outcome(
        folder,
        trainer.state.global_step,
        log.training_loss,
        next((entry["eval_loss"] for entry in reversed(trainer.state.log_history) if "eval_loss" in entry), None),
        reporter.interrupted,
        trainer.state.log_history,
    )
    if not reporter.interrupted:
        trainer.save_model()
    if trainer.is_world_process_zero():
        write_card(folder, facts, outcome.log, finished=not reporter.interrupted)
    return outcome


def open_folder(folder: Path, facts: dict[str, Any], *, resume: bool) -> tuple[Path | None, list[Path]]:
    """The checkpoint to go on from and the interrupted saves that were removed, decided by the main process alone."""
    state = PartialState()
    found: tuple[Path | None, list[Path]] = (None, [])
    if state.is_main_process:
        found = start(folder, facts, resume=resume)
    state.wait_for_everyone()
    if not state.is_main_process and resume:
        found = (next(reversed(whole_checkpoints(folder)), None), [])
    return found


def run(trainer: Any, reporter: Reporter, checkpoint: Path | None) -> Any:
    """trainer.train; gives Ctrl-C back whatever happens."""
    try:
        return trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        reporter.restore()


def stopping(arguments: Ours, evaluates: bool) -> list[EarlyStoppingCallback]:
    """The callback for early stopping, if the recipe wants it and there is something to evaluate on."""
    patience = arguments.early_stopping_patience
    return [EarlyStoppingCallback(early_stopping_patience=patience)] if patience and evaluates else []


def _attention(arguments: Any, model_config: ModelConfig, name: str) -> str:
    """The attention to load the model with. Raises UsageError for one that would see a wrong mask."""
    alone = arguments.layout != "tree" and not arguments.packing and arguments.per_device_train_batch_size == 1
    wanted = model_config.attn_implementation
    if alone and wanted not in (None, TREE, FLEX):
        return str(wanted)
    flash = ("flash_attention_2", "flash_attention_3")
    fit = (TREE, FLEX) if arguments.layout == "tree" else (TREE, FLEX, *flash)
    attention = wanted or TREE
    if attention not in fit:
        raise UsageError(
            f"attn_implementation {attention} does not keep the documents of a {arguments.layout} pack apart",
            hint=f"leave it out, or take one of {', '.join(fit)}",
        )
    config = load_config(name)
    refuse_unfit(config, name)
    if not is_deepspeed_zero3_enabled():  # which would scatter the probe's weights
        refuse_leaks(config, name)
    return str(attention)


def _padding(attention: str, arguments: Any) -> int:
    """Flex compiles for one length: that of a full batch."""
    if attention != FLEX:
        return 1
    if arguments.max_length % FLEX_BLOCK:
        raise UsageError(f"max_length {arguments.max_length} is no multiple of {FLEX_BLOCK}, as {FLEX} needs")
    return int(arguments.max_length * arguments.per_device_train_batch_size)


def _for_trl(arguments: Any, plan: Plan) -> Any:
    """What is left for TRL to do: no preparing, no packing, no cutting."""
    given = for_trainer(arguments, evaluates=plan.held is not None)
    given.packing, given.padding_free, given.chat_template_path = False, False, None
    given.dataset_kwargs = {"skip_prepare_dataset": True}
    given.remove_unused_columns = False
    return given


def for_trainer(arguments: Any, *, evaluates: bool) -> Any:
    """The recipe's arguments as TRL is to have them: nothing is cut, drawn or uploaded."""
    given = copy.copy(arguments)
    given.max_length = None
    given.disable_tqdm = True
    given.push_to_hub = False
    given.ddp_find_unused_parameters = bool(given.ddp_find_unused_parameters)
    if not evaluates:
        given.eval_strategy = "no"
    elif arguments.early_stopping_patience:
        given.load_best_model_at_end = True
        given.metric_for_best_model = "eval_loss"
        given.greater_is_better = False
    return given
