"""SFTTrainer on packs of trees: TRL trains; this counts, weighs evaluation, and refuses a wrong attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from trl import SFTTrainer

from psyllm.errors import Failure
from trainer.attention import block_mask
from trainer.batches import Batch
from trainer.checkpoints import logs_of
from trainer.watch import Tally


class TreeTrainer(SFTTrainer):
    """SFTTrainer that counts what passes, weighs evaluation by tokens, and refuses a wrong attention."""

    def __init__(self, *, attention: str, tally: Tally, held_labels: int, **given: Any) -> None:
        super().__init__(**given)
        self._attention, self._tally, self._held_labels = attention, tally, held_labels

    def count_on(self, checkpoint: Path | None) -> None:
        """TRL's num_tokens starts at nought after a resume; this goes on from what the checkpoint had logged."""
        logged = logs_of(checkpoint) if checkpoint else []
        self._total_train_tokens = int(max((entry.get("num_tokens", 0) for entry in logged), default=0))

    def compute_loss(self, model: Any, inputs: Batch, *given: Any, **named: Any) -> Any:
        if self.model.config._attn_implementation != self._attention:
            raise Failure("training", f"attention was changed to {self.model.config._attn_implementation}: wrong masks")
        tally = inputs.pop("tally")
        if self.model.training:
            self._tally.add(**tally)
        if (intervals := inputs.pop("tree_intervals", None)) is not None:
            inputs["tree_mask"] = block_mask(intervals)
        return super().compute_loss(model, inputs, *given, **named)

    def prediction_step(self, model: Any, inputs: Batch, *given: Any, **named: Any) -> Any:
        """Trainer takes the mean over batches; weighed like this it becomes the mean over tokens."""
        batches = -(-len(self.eval_dataset) // self.args.per_device_eval_batch_size)
        share = inputs["tally"]["labels"] * batches / self._held_labels
        loss, logits, labels = super().prediction_step(model, inputs, *given, **named)
        return loss * share, logits, labels

    def create_model_card(self, *given: Any, **named: Any) -> None:
        """Ours is written at the end, by trainer.card."""


def compile_layers(model: Any) -> None:
    """torch.compile each layer for lengths that change."""
    torch._dynamo.config.recompile_limit = 64
    for layer in model.get_decoder().layers:
        layer.compile(dynamic=True)
