"""A trained model in this process: for looking at it, one conversation at a time.

for piece in Talker("trained/mine", seed=0).answer(messages): ...
"""

from __future__ import annotations

from collections.abc import Generator
from threading import Event, Thread
from typing import Any

import torch
from transformers import AutoModelForCausalLM, TextIteratorStreamer

from trainer.answers import Answer, parted
from trainer.models import load_tokenizer, loading, locate, quiet
from trainer.sources import Message


class Talker:
    """A model folder or a LoRA adapter, on the GPU if there is one."""

    def __init__(self, name: str, *, seed: int, temperature: float, max_tokens: int) -> None:
        """Raises UsageError for what is no model."""
        quiet()
        name = locate(name)
        self._tokenizer = load_tokenizer(name, None)
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        with loading(name):
            model = AutoModelForCausalLM.from_pretrained(name, dtype="auto")
        self._model: Any = model.to(device).eval()
        self._sampling: dict[str, Any] = {"max_new_tokens": max_tokens, "do_sample": temperature > 0}
        if temperature:
            self._sampling["temperature"] = temperature
        torch.manual_seed(seed)

    def answer(self, messages: list[Message]) -> Generator[Answer, None, None]:
        """The answer as it grows; closing the iterator stops the model."""
        inputs = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self._model.device)
        # markers of reasoning may be special tokens, so the end of the text is cut here and not by the streamer
        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=False)
        enough = Event()
        given = {"streamer": streamer, "pad_token_id": self._tokenizer.pad_token_id}
        stop = {"stopping_criteria": [lambda ids, _scores: torch.full((len(ids),), enough.is_set(), device=ids.device)]}
        writer = Thread(target=self._model.generate, kwargs={**inputs, **self._sampling, **given, **stop}, daemon=True)
        writer.start()
        text = ""
        try:
            for piece in streamer:
                text += piece
                yield parted(text.removesuffix(str(self._tokenizer.eos_token)))
        finally:
            enough.set()
            writer.join()
