"""sdg_hub: prompt, chat and extraction blocks for each of four steps, a block at a time over all rows."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import pandas as pd
import yaml
from common import ASK, STEPS, Clock, arguments, system
from sdg_hub import Flow

given = arguments()
with tempfile.TemporaryDirectory() as folder:
    blocks = []

    def block(kind: str, name: str, **config: object) -> None:
        blocks.append({"block_type": kind, "block_config": {"block_name": name, **config}})

    for step in STEPS:
        template = ASK[step].replace("{", "{{ ").replace("}", " }}")
        prompt = [
            {"role": "system", "content": system(step, given.system_bytes)},
            {"role": "user", "content": template},
        ]
        file = Path(folder) / f"{step}.yaml"
        file.write_text(yaml.safe_dump(prompt))
        columns = [name for name in ("item", *STEPS) if "{" + name + "}" in ASK[step]]
        ask, said = f"{step}_messages", f"{step}_reply"
        block("PromptBuilderBlock", f"{step}_p", input_cols=columns, output_cols=ask, prompt_config_path=str(file))
        block("LLMChatBlock", f"{step}_c", input_cols=ask, output_cols=said, async_mode=True)
        block(
            "LLMResponseExtractorBlock",
            f"{step}_e",
            input_cols=said,
            field_prefix=f"{step}_",
            extract_content=True,
        )
        block("RenameColumnsBlock", f"{step}_n", input_cols={f"{step}_content": step})
    about = {"name": "bench", "description": "bench", "version": "1.0.0", "author": "bench"}
    about["recommended_models"] = {"default": "mock"}
    flow_file = Path(folder) / "flow.yaml"
    flow_file.write_text(yaml.safe_dump({"metadata": about, "blocks": blocks}))
    with Clock() as clock:
        flow = Flow.from_yaml(str(flow_file))
        flow.set_model_config(model="hosted_vllm/mock", api_base=given.base_url, api_key="none")
        items = pd.DataFrame({"item": [str(number) for number in range(given.items)]})
        rows = flow.generate(items, max_concurrency=given.concurrency)
    clock.tell(int(rows[list(STEPS)].notna().all(axis=1).sum()))
