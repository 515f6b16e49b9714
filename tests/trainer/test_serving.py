"""The vLLM command, and starting it: a small server stands for vllm, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from psyllm.errors import UsageError
from tests.conftest import PSYLLM, clean_environment
from trainer.answers import parted
from trainer.serving import command

Psyllm = Callable[..., subprocess.CompletedProcess[str]]

VLLM = """#!{python}
import http.server, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
if port == {dies}:
    sys.exit(3)
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "chat_template.jinja").write_text("x", encoding="utf-8")
    return folder


@pytest.fixture
def vllm(tmp_path: Path) -> Callable[[int], Path]:
    def write(dies: int = 0) -> Path:
        file = tmp_path / "vllm"
        file.write_text(VLLM.format(python=sys.executable, dies=dies), encoding="utf-8")
        file.chmod(0o755)
        return file

    return write


def test_a_model_is_served_with_its_template_and_reasoning_apart(model: Path, psyllm: Psyllm) -> None:
    shown = psyllm("serve", model, "--port", "8123", "--gpus", "2", "--max-length", "8192")
    assert shown.returncode == 0, shown.stderr
    words = shown.stdout.split()
    assert words[:3] == ["vllm", "serve", str(model)]
    for flag, value in (
        ("--served-model-name", "mine"),
        ("--reasoning-parser", "qwen3"),
        ("--chat-template", str(model / "chat_template.jinja")),
        ("--port", "8123"),
        ("--tensor-parallel-size", "2"),
        ("--max-model-len", "8192"),
    ):
        assert words[words.index(flag) + 1] == value
    assert 'base_url = "http://127.0.0.1:8123/v1"' in shown.stderr


def test_an_adapter_is_served_as_lora_on_its_base(model: Path) -> None:
    config = {"base_model_name_or_path": "Qwen/Qwen3-8B", "r": 12}
    (model / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    words = command(str(model), port=8000)
    assert words[1:6] == ["serve", "Qwen/Qwen3-8B", "--enable-lora", "--max-lora-rank", "16"]
    assert words[words.index("--lora-modules") + 1] == f"mine={model}"


def test_run_waits_for_health_and_ctrl_c_stops_the_server(model: Path, vllm: Callable[[int], Path]) -> None:
    port = free_port()
    with subprocess.Popen(
        [PSYLLM, "serve", str(model), "--run", "--vllm", str(vllm(0)), "--port", str(port)],
        env=clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert any(f"mine is served at http://127.0.0.1:{port}/v1" in line for line in process.stderr)
        socket.create_connection(("127.0.0.1", port)).close()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_a_server_that_dies_or_is_not_there_is_said(model: Path, vllm: Callable[[int], Path], psyllm: Psyllm) -> None:
    port = free_port()
    died = psyllm("serve", model, "--run", "--vllm", vllm(port), "--port", str(port))
    assert (died.returncode, "ended with status 3 before it was healthy" in died.stderr) == (1, True)
    missing = psyllm("serve", model, "--run", "--vllm", "no-vllm-here")
    assert missing.returncode == 2
    assert "no-vllm-here is not installed" in missing.stderr
    assert "environment of its own" in missing.stderr


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_what_is_no_model_is_not_served(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        command(name, port=1)


@pytest.mark.parametrize(
    ("text", "reasoning", "reply", "thinking"),
    [
        ("", "", "", True),
        ("<thi", "", "", True),
        ("<think>\nTired", "Tired", "", True),
        ("<think>\nTired\n</think>\n\nSince", "Tired", "Since", False),
        ("Since when?", "", "Since when?", False),
        ("Tired\n</think>\n\nSince", "Tired", "Since", False),
    ],
)
def test_reasoning_and_reply_are_parted_while_they_grow(text: str, reasoning: str, reply: str, thinking: bool) -> None:
    answer = parted(text)
    assert (answer.reasoning, answer.reply, answer.thinking) == (reasoning, reply, thinking)
