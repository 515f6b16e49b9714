"""bench/throughput: the real graph on the mock server, what is kept after Ctrl-C, and the sums of the table."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp

from bench.throughput.clients import Load
from bench.throughput.measure import serving
from bench.throughput.report import goals, markdown, summed
from tests.conftest import ROOT

CLIENTS = ("psyllm", "replay", "aiohttp")


def test_the_graph_runs_end_to_end_and_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.throughput", "--clients", *CLIENTS, "--latency", "5", "--slots", "16"]
    command += ["--dialogues", "3", "--repeats", "50", "--out", str(tmp_path / "out")]
    # no environment can be made there: that peer is told of, and the rest goes on
    (tmp_path / "file").touch()
    nowhere = {"PSYLLM_BENCH_ENVIRONMENTS": str(tmp_path / "file")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | nowhere
    )
    assert process.stdout is not None
    list(islice((line for line in process.stdout if line.startswith("[")), 3))
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "not measured" in said

    about, *rows = [json.loads(line) for line in (tmp_path / "out" / "measurements.jsonl").read_text().splitlines()]
    assert about["stopped"] and about["measured"] == len(rows) >= 3 and about["cores"] == os.cpu_count()
    ours, replay, aiohttp_row = rows[:3]
    assert [row["client"] for row in rows[:3]] == list(CLIENTS)
    assert ours["done"] >= ours["four_rounds"] == 3 and ours["missed"] == 0
    assert ours["slot_s"] >= ours["calls"] * 0.005 and 0 < ours["efficiency"] < 1
    assert [replay[name] for name in ("calls", "request_bytes", "reply_bytes", "chain")] == [
        ours[name] for name in ("calls", "request_bytes", "reply_bytes", "chain")
    ]
    assert "langgraph could not be installed" in aiohttp_row["failed"]
    page = (tmp_path / "out" / "README.md").read_text()
    assert "Stopped after" in page and "langgraph could not be installed" in page
    assert (tmp_path / "out" / "plot.svg").read_text().startswith("<?xml")


async def test_no_more_requests_hold_a_slot_than_there_are() -> None:
    async def ask(session: aiohttp.ClientSession, url: str) -> int:
        body = {"model": "mock", "messages": [{"role": "user", "content": "hello"}]}
        async with session.post(f"{url}/plain/v1/chat/completions", json=body) as reply:
            raw = await reply.read()
        assert json.loads(raw)["choices"][0]["message"]["content"]
        return len(raw)

    with serving(Load(50, 2, 0, 0, ()), 900, None) as url:
        async with aiohttp.ClientSession() as session:
            sizes = await asyncio.gather(*(ask(session, url) for _ in range(6)))
            async with session.get(f"{url}/stats") as reply:
                stats = await reply.json()
    assert set(sizes) == {900}
    assert stats["calls"] == 6 and stats["peak_busy"] == 2
    assert stats["slot_s"] >= 6 * 0.049 and stats["window_s"] >= 3 * 0.049


def row(client: str, repeat: int, rate: float, latency_ms: float = 50, slots: int = 256, **more: Any) -> dict[str, Any]:
    same = {"wall_s": 10.0, "ideal_s": 5.0, "window_efficiency": 0.6, "cores": 0.5, "rss_mib": 100.0, "calls": 1000}
    same |= {"cpu_ms_per_call": 1.2, "server_cores": 0.1, "server_ms_per_call": 0.2, "other_cores": 0.3, "done": 1100}
    same |= {"request_bytes": 11_000.0, "reply_bytes": 900.0, "missed": 0, "four_rounds": 1050, "accepted": 990}
    which = {
        "client": client,
        "repeat": repeat,
        "latency_ms": latency_ms,
        "slots": slots,
        "more_places": 0,
        "side_by_side": False,
    }
    return which | same | {"calls_per_s": rate, "efficiency": rate / 1000} | more


def test_medians_ratios_and_goals() -> None:
    rows = [row("psyllm", n, rate) for n, rate in enumerate((500, 480, 900), 1)]
    rows += [row("sdg-hub", n, rate) for n, rate in enumerate((240, 10, 260), 1)]
    rows += [row("curator", n, rate) for n, rate in enumerate((100, 100, 100), 1)]
    rows += [row("openai", 1, 1000)]
    rows.append(
        {
            "client": "distilabel",
            "repeat": 1,
            "latency_ms": 50,
            "slots": 256,
            "more_places": 0,
            "failed": "no such wheel",
        }
    )
    rows += [row("psyllm", 1, 940, 200, 64), row("psyllm", 1, 980, 1000, 64, four_rounds=900)]
    loads = summed(rows)
    assert [each.client for each in loads[0].summaries] == ["openai", "psyllm", "sdg-hub", "curator", "distilabel"]
    found = {goal: (said, met) for goal, said, met in goals(loads)}
    # the best of the other engines counts, not what has no engine at all
    assert found["calls/s at 50 ms, 256 slots at least twice the best engine's"] == (
        "500 against 240 (sdg-hub): 2.1 times",
        True,
    )
    assert found["efficiency at 200 ms, 64 slots at least 0.95"][1] is False
    assert found["efficiency at 1000 ms, 64 slots at least 0.97"][1] is True
    assert found["CPU a call at most 1.3 ms"][1] is True
    assert found["at least 1,000 four-round dialogues"][1] is False
    enough = [row("psyllm", 1, 940, 200, 64), row("psyllm", 1, 500, 50, 256, four_rounds=400)]
    asked = {goal: met for goal, _, met in goals(summed(enough))}
    assert asked["at least 1,000 four-round dialogues"], "where no efficiency is asked for, fewer will do"

    about = {"started": "2026-11-23T12:00:00", "commit": "abc", "python": "3.11", "cores": 2, "cpu": "a CPU"}
    about |= {"system": "Linux", "load_at_start": [0.1], "minutes": 20.0, "repeats": 3}
    page = markdown(about, loads)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if "|" in line]
    ours = next(line for line in cells if line[0] == "**psyllm, one process**")
    assert ours[4:7] == ["0.500 (0.48-0.90)", "500", "2.08"]
    assert "distilabel: no such wheel" in page
