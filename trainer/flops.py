"""Model FLOPs of a training step, for MFU: what the maths needs, whatever is recomputed or padded.

6 per matrix weight and token (4 if the weights are frozen under LoRA), the head on labelled tokens only, and 12 per
head dimension and attended pair of tokens, so that a tree or pack is not credited with pairs it never looks at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

PEAKS = {"H100": 989e12, "H200": 989e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12, "L4": 121e12}
"""Part of a device's name -> dense bf16 FLOP/s as its maker says. The first that matches counts."""


@dataclass(frozen=True)
class Cost:
    """FLOPs of one model."""

    body: int
    """Weights of all matrices but the embedding and the head."""
    head: int
    heads: int
    """Layers times attention heads times head dimension."""
    factor: int
    """6, or 4 if the matrices are frozen."""

    def __call__(self, tokens: int, labels: int, attended: int) -> float:
        return self.factor * (self.body * tokens + self.head * labels) + 12.0 * self.heads * attended


def cost_of(model: Any) -> Cost:
    """Of a transformers model, perhaps under PEFT."""
    from torch import nn

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    output = base.get_output_embeddings()
    head = output.weight.numel()
    matrices = [module.weight for module in base.modules() if isinstance(module, nn.Linear) and module is not output]
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    frozen = hasattr(model, "peft_config")
    layers = config.num_hidden_layers * config.num_attention_heads * width
    return Cost(sum(weight.numel() for weight in matrices), head, layers, 4 if frozen else 6)


def cpu_flops(model: Any, seconds: float = 0.5) -> float:
    """FLOP/s of this CPU as it is now, on the model's largest matrix but its head: about what training reaches."""
    import torch

    head = model.get_output_embeddings()
    linear = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    weight = max(linear, key=torch.Tensor.numel)
    states = torch.ones(512, weight.shape[1], dtype=weight.dtype)
    began, runs = time.perf_counter(), 0
    with torch.no_grad():
        while time.perf_counter() < began + seconds:
            states @ weight.T
            runs += 1
    return 2 * len(states) * weight.numel() * runs / (time.perf_counter() - began)


def peak_flops() -> float | None:
    """FLOP/s of this machine's accelerator by its maker's sheet; None if unknown."""
    import torch

    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((peak for part, peak in PEAKS.items() if part in name), None)
