"""What a training run tells whoever watches it, and the callback that does the telling.

trainer/ prints nothing: app/train.py draws these on the screen, tests and benches collect them.
"""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainer.flops import Cost


@dataclass(frozen=True)
class Step:
    """After an optimizer step; the first one tells where training begins, and has no speed."""

    step: int
    steps: int
    loss: float | None
    """Last logged training loss."""
    eval_loss: float | None
    """Last evaluation on held-out dialogues."""
    tokens_per_second: float
    """Real tokens, all devices, since the start of this session."""
    labels_per_second: float
    """Tokens that loss falls on."""
    mfu: float | None
    """Share of the accelerators' peak; None where the peak is unknown."""
    seconds_left: float | None
    """For the steps to come, without evaluation; before the first step a guess, None without one."""


class Watch(Protocol):
    """Whoever watches."""

    def planned(self, plan: Any) -> None:
        """Before anything is trained: what the data became (trainer.plan.Plan, or the pairs of trainer.dpo)."""

    def started(self, facts: dict[str, str]) -> None:
        """The model is loaded: device, kernel, where it goes on."""

    def stepped(self, step: Step) -> None:
        """An optimizer step is done, or training begins."""

    def stopping(self) -> None:
        """Ctrl-C was heard: the step is finished and saved."""

    def saved(self, checkpoint: str) -> None:
        """A checkpoint is whole."""


@dataclass
class Tally:
    """What went through the model since the start of this session."""

    tokens: int = 0
    labels: int = 0
    flops: float = 0.0
    cost: Cost | None = None
    seconds: float = 0.0
    """Inside training steps: evaluation and saving do not count."""
    began: float = field(default=0.0, repr=False)

    def add(self, tokens: int, labels: int, attended: int) -> None:
        self.tokens += tokens
        self.labels += labels
        if self.cost is not None:
            self.flops += self.cost(tokens, labels, attended)


class Reporter(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Tells the watch, and turns the first Ctrl-C into a checkpoint and a clean stop."""

    def __init__(self, watch: Watch, tally: Tally, peak: float | None) -> None:
        self._watch, self._tally, self._peak = watch, tally, peak
        self.step_seconds: float | None = None
        """How long a step may take: a guess, for before the first."""
        self._began_at = 0
        self._loss: float | None = None
        self._eval_loss: float | None = None
        self.interrupted = False
        self._before: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._stop)
        self._began_at = state.global_step
        if state.is_world_process_zero:
            left = self.step_seconds and self.step_seconds * (state.max_steps - state.global_step)
            self._watch.stepped(Step(state.global_step, state.max_steps, None, None, 0, 0, None, left))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.restore()

    def restore(self) -> None:
        """Give Ctrl-C back."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        self.restore()
        self._watch.stopping()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._tally.began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        tally = self._tally
        tally.seconds += time.perf_counter() - tally.began
        if self.interrupted:
            control.should_training_stop = True
            control.should_save = True
        if not control.should_log:
            self._tell(args, state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._loss = (logs or {}).get("loss", self._loss)
        self._eval_loss = (logs or {}).get("eval_loss", self._eval_loss)
        if "train_runtime" not in (logs or {}):
            self._tell(args, state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._watch.saved(f"checkpoint-{state.global_step}")

    def _tell(self, args: TrainingArguments, state: TrainerState) -> None:
        tally = self._tally
        if not state.is_world_process_zero or not tally.seconds:
            return
        self._watch.stepped(
            Step(
                state.global_step,
                state.max_steps,
                self._loss,
                self._eval_loss,
                args.world_size * tally.tokens / tally.seconds,
                args.world_size * tally.labels / tally.seconds,
                tally.flops / tally.seconds / self._peak if self._peak else None,
                tally.seconds / (state.global_step - self._began_at) * (state.max_steps - state.global_step),
            )
        )
