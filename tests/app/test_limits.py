"""What a run may spend, and dialogues that failed: both end in one clear line that says how to go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from psyllm.journal import DATABASE, connect
from psyllm.runs import Run
from tests.app.conftest import EIGHT, Desk
from tests.app.test_cli import of_first_four
from tests.conftest import Endpoint
from tests.graphs.conftest import POST, SCRIPT

FOUR = (*EIGHT[:-1], "4")
PRICED = """profile = "m"
[models.m]
kind = "rehearsal"
model = "rehearsal"
sampling = {}
concurrency = 2
price = { input = 10.0, output = 40.0 }
[profiles.m]
default = "m"
"""


def spent(desk: Desk) -> tuple[int, float]:
    """Tokens and USD of all calls of the run."""
    with closing(connect(desk.folder / "run" / DATABASE, read_only=True)) as db:
        tokens, dollars = db.execute(
            "SELECT sum(prompt_tokens + completion_tokens), sum(cost_usd) FROM calls"
        ).fetchone()
    return tokens, dollars


@pytest.mark.parametrize(("flag", "low", "high"), [("--max-tokens", "20000", "9000000"), ("--max-cost", "0.2", "1000")])
def test_a_limit_stops_cleanly_counts_all_starts_and_can_be_raised(
    desk: Desk, undisturbed: bytes, flag: str, low: str, high: str
) -> None:
    desk.write("psyllm.toml", PRICED)
    first = desk.psyllm(*FOUR, flag, low)
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    (line,) = [line for line in first.stderr.splitlines() if line.startswith("stopped at")]
    tokens, dollars = spent(desk)
    shown = f"{tokens} tokens" if flag == "--max-tokens" else f"${dollars:,.4g}"
    assert f"{flag} {low}: {shown} spent by this run" in line
    assert f"the same command with a higher {flag} goes on" in line
    paid = desk.count("calls")
    again = desk.psyllm(*FOUR, flag, low)
    assert again.returncode == 0 and line in again.stderr
    assert desk.count("calls") == paid, "what was spent before counts"
    done = desk.psyllm(*FOUR, flag, high)
    assert done.returncode == 0 and "4 of 4 posts done" in done.stderr and "stopped" not in done.stderr
    assert of_first_four(undisturbed) == desk.exported().replace(b'"m"', b'"rehearsal"')


def test_hours_are_those_of_one_start(desk: Desk) -> None:
    slow = (*FOUR, "--rehearsal-latency", "300")
    first = desk.psyllm(*slow, "--max-hours", "0.0003")
    assert first.returncode == 0, first.stderr
    assert "stopped at --max-hours 0.0003; nothing is lost, and the same command goes on" in first.stderr
    paid = desk.count("calls")
    assert paid > 0 and desk.count("dialogues") < 4
    assert desk.psyllm(*slow, "--max-hours", "0.0003").returncode == 0
    assert desk.count("calls") > paid


def test_dollars_cannot_be_limited_where_there_is_no_price(desk: Desk) -> None:
    done = desk.psyllm(*FOUR, "--max-cost", "5")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--max-cost needs a price for rehearsal" in done.stderr
    assert "price = { input = USD, output = USD }" in done.stderr
    assert not (desk.folder / "run").exists()


Start = Callable[[dict[str, Any]], Endpoint]


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_what_failed_is_listed_and_tried_again_only_when_asked_for(desk: Desk, scripted: Start, workers: str) -> None:
    endpoint = scripted(SCRIPT | {"plan": [{"$status": 400}, SCRIPT["plan"]]})
    model = f'base_url = "{endpoint.base_url}"\nmodel = "m"\ntries = 1\nconcurrency = 1\n'
    desk.write("psyllm.toml", f'profile = "p"\n[models.m]\n{model}[profiles.p]\ndefault = "m"\n')
    desk.write("two.jsonl", "".join(json.dumps({"id": name, "text": POST.text}) + "\n" for name in ("bad", "good")))
    offered = ("--modality", "cbt", "--modality", "act", "--modality", "mi")
    command = ("grow", "two.jsonl", "--run", "run", "--workers", workers, *offered)
    refused = desk.psyllm(*command, "--retry-failed")
    assert refused.returncode == 2 and "run holds no run" in refused.stderr
    assert not (desk.folder / "run").exists()

    first = desk.psyllm(*command)
    assert first.returncode == 1
    assert "1 failed: `psyllm status run --failed` says why" in first.stderr
    assert "the same command with --retry-failed tries them again" in first.stderr
    with Run(desk.folder / "run") as run:
        before = {d.post_id: d.status for d in run.dialogues()}
    (failed,) = [name for name, status in before.items() if status == "failed"]
    shown = desk.psyllm("status", "run", "--failed")
    assert failed in shown.stdout and "endpoint_failed" in shown.stdout and "HTTP 400" in shown.stdout
    (row,) = json.loads(desk.psyllm("status", "run", "--failed", "--json").stdout)
    assert (row["post"], row["reason"], row["round"]) == (failed, "endpoint_failed", 0)
    assert json.loads(desk.psyllm("status", "run", "--json").stdout)["dialogues"]["failed"] == 1

    asked = len(endpoint.requests())
    plain = desk.psyllm(*command)
    assert plain.returncode == 0 and "all 2 posts were done before" in plain.stderr
    assert "--retry-failed" in plain.stderr
    assert len(endpoint.requests()) == asked
    again = desk.psyllm(*command, "--retry-failed")
    assert again.returncode == 0, again.stderr
    assert "1 of 1 failed dialogues tried again: " in again.stderr and "--retry-failed" not in again.stderr
    with Run(desk.folder / "run") as run:
        after = {d.post_id: d.status for d in run.dialogues()}
    assert after.pop(failed) != "failed"
    assert after.items() <= before.items()
    assert "no dialogue of run has failed" in desk.psyllm("status", "run", "--failed").stdout
    assert "no dialogue of run has failed" in desk.psyllm(*command, "--retry-failed").stderr
