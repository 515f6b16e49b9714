"""A recipe as TRL's own dataclasses, with what we add to them.

Names that TRL gives mean what TRL says; where ours change one (`max_length`, `packing`), the help text says so.
"""

import difflib
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal, NoReturn

import torch
from trl import DPOConfig, ModelConfig, SFTConfig, TrlParser

from psyllm.errors import UsageError
from trainer.recipe import Recipe

REPORTERS = ("tensorboard", "trackio", "wandb")


@dataclass
class Ours:
    """What psyllm adds to TRL's names, for both stages."""

    eval_share: float = field(
        default=0.05,
        metadata={"help": "Share of source posts held out for evaluation; not used if the data has splits."},
    )
    early_stopping_patience: int = field(
        default=0, metadata={"help": "Evaluations without a better eval_loss before training stops; 0: never."}
    )
    compile_layers: bool = field(default=False, metadata={"help": "torch.compile each transformer layer."})


@dataclass
class SftArguments(Ours, SFTConfig):
    """SFTConfig with our keys and defaults."""

    layout: Literal["tree", "rows", "keep-all"] = field(
        default="tree",
        metadata={"help": "tree: a dialogue once; rows: a row a turn; keep-all: later turns see earlier reasoning."},
    )
    max_length: int | None = field(
        default=8192, metadata={"help": "Tokens of a pack, and the most that a row may have; longer ones are dropped."}
    )
    packing: bool = field(default=True, metadata={"help": "Best-fit packs of max_length; never cuts, never pads."})
    per_device_train_batch_size: int = field(default=1, metadata={"help": "Packs in a step, joined without padding."})
    per_device_eval_batch_size: int = field(default=1, metadata={"help": "Packs in an evaluation step."})

    def __post_init__(self) -> None:
        if self.layout not in ("tree", "rows", "keep-all"):
            raise ValueError(f"layout {self.layout!r}: choose tree, rows or keep-all")
        super().__post_init__()


@dataclass
class DpoArguments(Ours, DPOConfig):
    """DPOConfig with our keys and defaults."""

    chat_template_path: str | None = field(
        default=None, metadata={"help": "A .jinja file; default: the template that the model comes with."}
    )
    max_length: int | None = field(
        default=4096, metadata={"help": "The most tokens that prompt and reply may have; longer pairs are dropped."}
    )
    per_device_train_batch_size: int = field(default=1, metadata={"help": "Pairs in a step, padded."})
    per_device_eval_batch_size: int = field(default=1, metadata={"help": "Pairs in an evaluation step."})


class _Parser(TrlParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"recipe: {message}", hint="docs/training.md lists the keys; --set key=value changes one")


def arguments_of(kind: type[SftArguments] | type[DpoArguments], recipe: Recipe) -> tuple[Any, ModelConfig]:
    """The recipe as (kind, ModelConfig), by TRL's parser.

    Raises UsageError for a key or value that does not fit, a missing model, or a GPU recipe without a GPU.
    """
    if not recipe.get("use_cpu") and not torch.accelerator.is_available():
        raise UsageError(
            "this recipe wants a GPU and torch sees none",
            hint="take a -cpu recipe, or --set use_cpu=true --set bf16=false for a small model",
        )
    parser = _Parser((kind, ModelConfig))
    if unknown := parser.set_defaults_with_config(**recipe):
        raise _unknown_key(unknown[0].removeprefix("--"), [action.dest for action in parser._actions], kind)
    try:
        arguments, model = parser.parse_args_into_dataclasses(args=[])
    except (ValueError, TypeError, ImportError) as error:
        raise UsageError(f"recipe: {str(error).strip().splitlines()[0]}", hint="--set key=value changes it") from error
    for name in arguments.report_to:
        if name in REPORTERS and find_spec(name) is None:
            raise UsageError(f"recipe: report_to {name}, but it is not installed", hint=f"pip install {name}")
    if not model.model_name_or_path:
        raise UsageError("recipe: no model_name_or_path", hint="--set model_name_or_path=Qwen/Qwen3-1.7B")
    if isinstance(model.lora_target_modules, str) and model.lora_target_modules != "all-linear":
        model.lora_target_modules = [model.lora_target_modules]  # TRL makes a pattern of a single name
    _refuse_values(arguments)
    return arguments, model


def _refuse_values(arguments: Any) -> None:
    """Raises UsageError for values that TRL takes and that mean nothing here."""
    for name, value, fits, wanted in (
        ("eval_share", arguments.eval_share, 0 <= arguments.eval_share <= 1, "a share between 0 and 1"),
        ("max_length", arguments.max_length, (arguments.max_length or 0) > 0, "a number of tokens"),
        ("max_steps", arguments.max_steps, arguments.max_steps != 0, "a number of steps, or leave it out"),
    ):
        if not fits:
            raise UsageError(f"recipe: {name} {value}", hint=f"--set {name}=... takes {wanted}")


def _unknown_key(name: str, known: list[str], kind: type) -> UsageError:
    other, stage = (DpoArguments, "dpo") if kind is SftArguments else (SftArguments, "sft")
    if name in other.__dataclass_fields__:
        hint = f"it is a key of {stage}: is this a recipe for `psyllm train {stage}`?"
        return UsageError(f"recipe: unknown key {name!r}", hint=hint)
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else "docs/training.md lists our keys; all others are TRL's"
    return UsageError(f"recipe: unknown key {name!r}", hint=hint)
