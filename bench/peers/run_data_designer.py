"""NeMo Data Designer: one sampled column and four LLM text columns that depend on each other."""

from __future__ import annotations

import tempfile

import data_designer.config as dd
from common import ASK, STEPS, Clock, arguments, system
from data_designer.interface import DataDesigner

given = arguments()
limits = dd.ChatCompletionInferenceParams(max_parallel_requests=given.concurrency)
model = dd.ModelConfig(alias="m", model="mock", provider="mock", skip_health_check=True, inference_parameters=limits)
builder = dd.DataDesignerConfigBuilder(model_configs=[model])
builder.add_column(dd.SamplerColumnConfig(name="item", sampler_type=dd.SamplerType.UUID, params=dd.UUIDSamplerParams()))
for step in STEPS:
    prompt = ASK[step].replace("{", "{{ ").replace("}", " }}")
    role = system(step, given.system_bytes)
    builder.add_column(dd.LLMTextColumnConfig(name=step, prompt=prompt, system_prompt=role, model_alias="m"))

with tempfile.TemporaryDirectory() as folder:
    provider = dd.ModelProvider(name="mock", endpoint=given.base_url, provider_type="openai", api_key="none")
    designer = DataDesigner(artifact_path=folder, model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
    with Clock() as clock:
        done = len(designer.create(builder, num_records=given.items).load_dataset())
    clock.tell(done)
