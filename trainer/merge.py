"""A LoRA adapter and its base model as one model folder."""

from __future__ import annotations

import json
from pathlib import Path

from psyllm.errors import UsageError


def base_of(adapter: Path) -> str:
    """The base model of a LoRA adapter. Raises UsageError for what is none."""
    file = adapter / "adapter_config.json"
    if not file.is_file():
        raise UsageError(f"{adapter} is no LoRA adapter: no adapter_config.json", hint="merging is for use_peft: true")
    return str(json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"])


def merge(adapter: Path, out: Path) -> None:
    """Write the merged model and the adapter's tokenizer, whole or not at all. Raises UsageError."""
    base = base_of(adapter)
    if out.exists():
        raise UsageError(f"{out} exists", hint="give another folder, or remove it")
    from peft import AutoPeftModelForCausalLM

    from trainer.models import load_tokenizer, loading, quiet

    quiet()
    tokenizer = load_tokenizer(str(adapter), None)
    with loading(base):
        model = AutoPeftModelForCausalLM.from_pretrained(str(adapter), dtype="auto").merge_and_unload()
    partial = out.with_name(f".{out.name}.partial")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(out)
