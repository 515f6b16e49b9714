"""Bespoke Curator: four LLM objects, one after the other over the whole data set."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from pathlib import Path

# nothing is loaded from the network: curator reads a table of tiktoken at its start, which litellm ships
LITELLM = Path(importlib.util.find_spec("litellm").origin).parent
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", CURATOR_DISABLE_CACHE="true")
os.environ["TIKTOKEN_CACHE_DIR"] = str(LITELLM / "litellm_core_utils" / "tokenizers")
from bespokelabs import curator  # noqa: E402
from common import ASK, STEPS, Clock, arguments, system  # noqa: E402

given = arguments()
logging.getLogger("bespokelabs").setLevel(logging.ERROR)


class Step(curator.LLM):
    step: str

    def prompt(self, row):
        return ASK[self.step].format(**row)

    def parse(self, row, response):
        return {**row, self.step: response}


with tempfile.TemporaryDirectory() as folder:
    rows = [{"item": number} for number in range(given.items)]
    limits = {"max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 10_000_000_000}
    limits["max_concurrent_requests"] = given.concurrency
    with Clock() as clock:
        for name in STEPS:
            model = type(name, (Step,), {"step": name})(
                model_name="mock",
                backend="openai",
                system_prompt=system(name, given.system_bytes),
                backend_params={"base_url": given.base_url, "api_key": "none", **limits},
            )
            rows = model(rows, working_dir=folder).dataset
    clock.tell(sum(all(row[step] for step in STEPS) for row in rows))
