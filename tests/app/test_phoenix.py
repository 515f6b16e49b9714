"""A real collector, Arize Phoenix in an environment of its own, sees the tree that `psyllm trace otel` sends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from psyllm.runs import Run
from tests.app.conftest import Desk, Done

pytestmark = pytest.mark.slow
READY_S = 300
INSTALL_S = 600


def installed(folder: Path) -> str:
    """Phoenix's command: PSYLLM_PHOENIX, or one installed from PyPI into a new environment."""
    if given := os.environ.get("PSYLLM_PHOENIX"):
        return given
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [str(folder / "bin" / "pip"), "install", "-q", "arize-phoenix"]
    try:
        subprocess.run(command, check=True, timeout=INSTALL_S)
    except subprocess.SubprocessError:
        pytest.skip("arize-phoenix cannot be installed here")
    return str(folder / "bin" / "phoenix")


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Phoenix that runs on loopback."""
    folder = tmp_path_factory.mktemp("phoenix")
    command, url = installed(folder / "venv"), "http://127.0.0.1:16116"
    places = {"PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": "16116", "PHOENIX_GRPC_PORT": "16117"}
    env = os.environ | places | {"PHOENIX_WORKING_DIR": str(folder), "PHOENIX_TELEMETRY_ENABLED": "false"}
    log = (folder / "log").open("w")
    process = subprocess.Popen([command, "serve"], env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                asked(f"{url}/v1/projects")
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None, (folder / "log").read_text()
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (our own address)
        return json.load(answer)


def test_phoenix_shows_every_call_as_a_model_call_under_its_agent(grown: tuple[Desk, Done], phoenix: str) -> None:
    desk, _ = grown
    with Run(desk.folder / "run") as run:
        dialogue = next(run.dialogues())
        calls = tuple(run.calls(dialogue.id))
    done = desk.psyllm("trace", "otel", "run", dialogue.id, "--endpoint", phoenix, "--content")
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 60
    models: list[Any] = []
    while len(models) < len(calls):  # it takes spans in by and by
        assert time.monotonic() < deadline, f"Phoenix shows {len(models)} of {len(calls)} model calls"
        time.sleep(0.5)
        spans = asked(f"{phoenix}/v1/projects/default/spans?limit=1000")["data"]
        models = sorted((span for span in spans if span["span_kind"] == "LLM"), key=lambda span: span["start_time"])
    kinds = {span["context"]["span_id"]: span for span in spans}
    assert len(models) == len(calls)
    for span, call in zip(models, sorted(calls, key=lambda call: call.started), strict=True):
        facts = span["attributes"]
        assert facts["llm.token_count.prompt"] == call.prompt_tokens
        assert facts["llm.output_messages.0.message.content"] == call.reply
        agent = kinds[span["parent_id"]]
        assert (agent["span_kind"], agent["name"]) == ("AGENT", f"invoke_agent {call.role}")
