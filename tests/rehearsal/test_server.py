"""The HTTP side: usage, the log, transport faults on demand, wrong flags, and the end of the process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
import pytest

from psyllm.errors import Failure
from psyllm.rehearsal import RehearsalProcess
from psyllm.rehearsal.request import digest
from tests.rehearsal.conftest import Table, content

Seat = Callable[..., Table]
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello there. " * 40}]}


def post(table: Table, **body: Any) -> httpx.Response:
    return table.http.post(f"{table.server.base_url}/chat/completions", json={**BODY, **body})


def test_usage_counts_the_prefix_that_was_read_before(seat: Seat) -> None:
    table = seat()
    first = table.send(BODY)["usage"]
    assert first["prompt_tokens"] > 100 and first["completion_tokens"] == len("ready") // 4
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    longer = {**BODY, "messages": [*BODY["messages"], {"role": "assistant", "content": "Yes. " * 40}]}
    cached = table.send(longer)["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached % 16 == 0 and first["prompt_tokens"] - 32 <= cached <= first["prompt_tokens"]
    other = {**BODY, "messages": [{"role": "user", "content": "Good day. " * 40}]}
    assert table.send(other)["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_models_are_listed(seat: Seat) -> None:
    table = seat()
    assert table.http.get(f"{table.server.base_url}/models").json()["data"][0]["id"] == "rehearsal"


@pytest.mark.parametrize(
    ("fault", "status"), [("rate_limit", 429), ("rate_limit_bare", 429), ("server_error", 500), ("unauthorized", 401)]
)
def test_refusals(seat: Seat, fault: str, status: int) -> None:
    answer = post(seat(http_faults={fault: 1}))
    assert answer.status_code == status and "message" in answer.json()["error"]
    assert ("Retry-After" in answer.headers) == (fault == "rate_limit")


@pytest.mark.parametrize("fault", ["disconnect", "truncate"])
def test_broken_connections(seat: Seat, fault: str) -> None:
    table = seat(http_faults={fault: 1})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        post(table)


def test_broken_bodies(seat: Seat) -> None:
    assert post(seat(http_faults={"empty": 1})).content == b""
    with pytest.raises(json.JSONDecodeError):
        post(seat(http_faults={"bad_json": 1})).json()
    cut = post(seat(http_faults={"length": 1})).json()
    assert cut["choices"][0]["finish_reason"] == "length" and content(cut) == "re"


def test_a_hung_request_never_answers_and_its_slot_is_freed_when_the_client_goes(seat: Seat) -> None:
    table = seat(http_faults={"hang": 1}, http_fault_tries=1, slots=1)
    with pytest.raises(httpx.ReadTimeout):
        table.http.post(f"{table.server.base_url}/chat/completions", json=BODY, timeout=0.3)
    assert content(post(table).json()) == "ready"


def test_faults_are_a_matter_of_seed_and_sighting_and_stop_after_the_tries(seat: Seat) -> None:
    def statuses() -> list[list[int]]:
        table = seat(seed=5, http_faults={"server_error": 0.5}, http_fault_tries=2)
        return [[post(table, seed=n).status_code for _ in range(3)] for n in range(40)]

    first = statuses()
    assert first == statuses()
    assert all(sightings[2] == 200 for sightings in first)
    failed = sum(status == 500 for sightings in first for status in sightings[:2])
    assert 25 <= failed <= 55


def test_the_log_tells_arrivals_and_answers(seat: Seat, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    table = seat(log=log, http_faults={"server_error": 1}, http_fault_tries=1)
    post(table)
    post(table)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["sighting"], line["status"], line["planted"]) for line in lines] == [
        ("in", 1, None, []),
        ("out", 1, 500, ["server_error"]),
        ("in", 2, None, []),
        ("out", 2, 200, []),
    ]
    assert len({line["key"] for line in lines}) == 1 and len(lines[0]["key"]) == 64
    assert {line["messages"] for line in lines} == {digest([(m["role"], m["content"]) for m in BODY["messages"]])}


def test_what_is_not_a_chat_request_is_refused(seat: Seat) -> None:
    table = seat()
    answer = table.http.post(f"{table.server.base_url}/chat/completions", content=b"[")
    assert answer.status_code == 400 and "messages" in answer.json()["error"]["message"]


def test_latency_is_the_time_of_one_answer(seat: Seat) -> None:
    table = seat(latency_ms=150)
    assert post(table).elapsed.total_seconds() >= 0.15


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--http-fault", "gremlins=0.1"], "gremlins=0.1"),
        (["--http-fault", "hang=2"], "hang=2"),
        (["--log", "/nowhere/at/all.jsonl"], "/nowhere/at/all.jsonl"),
        (["--slots", "0"], "--slots"),
        (["--fault-rate", "1.5"], "--fault-rate"),
    ],
)
def test_wrong_flags_exit_with_two_and_name_the_value(flags: list[str], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "psyllm.rehearsal", *flags], capture_output=True, text=True, check=False, timeout=20
    )
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr


def test_a_port_in_use_is_named() -> None:
    with RehearsalProcess() as first, pytest.raises(Failure, match="ended with status 2"):
        RehearsalProcess(port=urlparse(first.base_url).port or 0)


def listening(base_url: str) -> socket.socket:
    """A connection to the server, open and idle; it ends when the server does."""
    address = urlparse(base_url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=10)


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_dies_with_its_parent_even_a_killed_one() -> None:
    code = "from psyllm.rehearsal import RehearsalProcess\nprint(RehearsalProcess().base_url, flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        with listening(parent.stdout.readline().strip()) as connection:
            os.kill(parent.pid, signal.SIGKILL)
            assert closed(connection)


def test_it_ends_on_sigterm_and_outlives_its_stdin_when_told_to() -> None:
    flags = [sys.executable, "-m", "psyllm.rehearsal", "--no-stdin"]
    with subprocess.Popen(flags, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        base_url = server.stdout.readline().split()[1]
        assert httpx.get(f"{base_url}/models").status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=10) == 0
