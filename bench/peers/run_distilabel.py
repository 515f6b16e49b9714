"""distilabel: four TextGeneration steps in a local pipeline, a process a step, batches of 50."""

from __future__ import annotations

import tempfile

from common import ASK, STEPS, Clock, arguments, system
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

BATCH = 50  # a step sends one batch at a time, all its rows at once

if __name__ == "__main__":
    given = arguments()
    with tempfile.TemporaryDirectory() as folder:
        with Clock() as clock:
            with Pipeline(name="bench", cache_dir=folder) as pipeline:
                items = [{"item": str(number)} for number in range(given.items)]
                before = LoadDataFromDicts(data=items, batch_size=BATCH)
                for step in STEPS:
                    task = TextGeneration(
                        name=f"{step}_task",
                        llm=OpenAILLM(model="mock", base_url=given.base_url, api_key="none"),
                        system_prompt=system(step, given.system_bytes),
                        template=ASK[step].replace("{", "{{ ").replace("}", " }}"),
                        columns=[name for name in ("item", *STEPS) if "{" + name + "}" in ASK[step]],
                        input_batch_size=BATCH,
                        output_mappings={"generation": step, "model_name": f"{step}_by"},
                        add_raw_output=False,
                        add_raw_input=False,
                    )
                    before >> task
                    before = task
            rows = pipeline.run(use_cache=False)["default"]["train"]
        clock.tell(sum(all(row[step] for step in STEPS) for row in rows))
