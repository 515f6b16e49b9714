"""The vLLM command for a trained model: the reasoning parser, the LoRA flags, the chat template it was trained with.

command(Path("trained/mine"), port=8000)  ->  ["vllm", "serve", "trained/mine", "--reasoning-parser", "qwen3", ...]
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from psyllm.errors import Failure, UsageError
from trainer.merge import base_of

PARSER = "qwen3"
"""vLLM's parser for <think> ... </think> before the reply; both templates that we train with write that."""


def command(
    model: str, *, port: int, gpus: int = 1, max_length: int | None = None, executable: str = "vllm"
) -> list[str]:
    """The command line. A folder with an adapter is served as LoRA on its base model.

    Raises UsageError for a path that holds no model.
    """
    folder = Path(model)
    if (folder / "adapter_config.json").is_file():
        rank = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"]
        words = [executable, "serve", base_of(folder), "--enable-lora", "--max-lora-rank", str(_rank(rank))]
        words += ["--lora-modules", f"{served_name(model)}={folder}"]
    elif folder.is_dir() and not (folder / "config.json").is_file():
        raise UsageError(f"{model} holds no model: no config.json", hint="was its training finished?")
    elif not folder.exists() and len(folder.parts) != 2:
        raise UsageError(f"model {model} does not exist", hint="give a folder, or OWNER/NAME on the Hub")
    else:
        words = [executable, "serve", model, "--served-model-name", served_name(model)]
    template = folder / "chat_template.jinja"
    if template.is_file():
        words += ["--chat-template", str(template)]
    words += ["--reasoning-parser", PARSER, "--host", "127.0.0.1", "--port", str(port)]
    words += ["--tensor-parallel-size", str(gpus)] if gpus > 1 else []
    words += ["--max-model-len", str(max_length)] if max_length else []
    return words


def served_name(model: str) -> str:
    """What the endpoint calls it."""
    return Path(model).name


def settings_of(model: str, port: int) -> str:
    """The lines of psyllm.toml that make it a model to grow, evaluate or talk with."""
    name = served_name(model)
    return (
        f'[models."{name}"]\nbase_url = "http://127.0.0.1:{port}/v1"\nmodel = "{name}"\ntrace = "native"\n'
        "sampling = { temperature = 0.6, top_p = 0.95, max_tokens = 4096 }"
    )


def run(words: list[str], port: int, *, patience_s: float, ready: Callable[[], None]) -> int:
    """Start the server, call `ready` once it answers /health, and wait until it ends; returns its exit status.

    Raises UsageError if the executable is not there, Failure if it ends or is not healthy within `patience_s`.
    """
    try:
        process = subprocess.Popen(words)
    except FileNotFoundError as error:
        raise UsageError(f"{words[0]} is not installed", hint=HOW_TO_GET) from error
    try:
        _wait_healthy(process, port, patience_s)
        ready()
        return process.wait()
    finally:
        process.terminate()
        process.wait()


HOW_TO_GET = (
    "vllm pins its own torch, so give it an environment of its own: python -m venv ../vllm && ../vllm/bin/pip install "
    "vllm, then --vllm ../vllm/bin/vllm"
)


def _wait_healthy(process: subprocess.Popen[bytes], port: int, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            pass
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
        raise Failure("endpoint", f"the server ended with status {process.returncode} before it was healthy")
    raise Failure(
        "endpoint", f"the server was not healthy within {patience_s:g} s", hint="--patience SECONDS waits longer"
    )


def _rank(rank: int) -> int:
    """vLLM knows these ranks only."""
    return next((known for known in (8, 16, 32, 64, 128, 256, 320, 512) if known >= rank), rank)
