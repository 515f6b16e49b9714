"""Growing on a Ray cluster: the same corpus as one process, whatever is lost on the way. The cluster is a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from psyllm.journal import shard_numbers
from psyllm.runs import Run
from tests.app.conftest import EIGHT, Desk, until
from tests.app.test_workers import calls
from tests.conftest import clean_environment

SLOW = ("--rehearsal-latency", "300", "--concurrency", "2", "--snapshot-every", "1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each, as processes of this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    node = {"num_cpus": 1, "include_dashboard": False}
    made = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def on(cluster: Any, *more: str) -> tuple[str, ...]:
    return (*EIGHT, "--engine", "ray", "--address", cluster.address, *more)


def actors(cluster: Any) -> list[int]:
    """The processes of our actors on this cluster."""
    nodes = {f"RAY_RAYLET_PID={pid}".encode() for node in cluster.list_all_nodes() for pid in raylets(node)}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = nodes & set((folder / "environ").read_bytes().split(b"\0"))
            if ours and (folder / "cmdline").read_bytes().startswith(b"ray::Node"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def raylets(node: Any) -> list[int]:
    return [info.process.pid for info in node.all_processes["raylet"]]


def test_without_ray_one_line_says_what_to_install(desk: Desk) -> None:
    line = "import sys; sys.modules['ray'] = None; from app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", line, *EIGHT, "--engine", "ray"],
        cwd=desk.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "psyllm: Ray is not installed",
        "  -> pip install -c constraints.txt -e '.[ray]'",
    ]
    assert not (desk.folder / "run").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--address", "127.0.0.1:1"), "add --engine ray"),
        (("--snapshot-every", "5"), "add --engine ray"),
        (("--engine", "ray", "--review"), "--review and --engine ray do not go together"),
        (("--engine", "ray", "--models", "desk"), "a desk and --engine ray do not go together"),
    ],
)
def test_what_does_not_fit_a_cluster_is_refused(desk: Desk, more: tuple[str, ...], said: str) -> None:
    done = desk.psyllm(*EIGHT, *more)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (desk.folder / "run").exists()


@pytest.mark.slow
def test_a_cluster_grows_what_one_process_grows(cluster: Any, desk: Desk, undisturbed: bytes) -> None:
    done = desk.psyllm(*on(cluster))
    assert done.returncode == 0, done.stderr
    assert "on Ray: 2 nodes, 2 cores, 2 workers" in done.stderr
    assert "8 of 8 posts done: " in done.stderr
    assert desk.exported() == undisturbed
    assert shard_numbers(desk.folder / "run") == [0, 1]
    assert not list((desk.folder / "run").glob("*-wal")), "snapshots need no WAL"
    again = desk.psyllm(*EIGHT)
    assert "all 8 posts were done before" in again.stderr, "one machine goes on with it"


@pytest.mark.slow
def test_ctrl_c_leaves_whole_snapshots(cluster: Any, desk: Desk, undisturbed: bytes) -> None:
    process = desk.start(*on(cluster, *SLOW, "--log-json"))
    until(process, lambda: calls(desk) > 6)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    ended = sum('"event": "call' in line for line in said.splitlines())
    assert calls(desk) == ended > 6, "every call that ended is in a snapshot"
    deadline = time.monotonic() + 30
    while actors(cluster):
        assert time.monotonic() < deadline, "a worker outlives the run"
        time.sleep(0.1)
    done = desk.psyllm(*EIGHT)
    assert done.returncode == 0, done.stderr
    assert desk.exported() == undisturbed
    with Run(desk.folder / "run") as run:
        assert calls(desk) == sum(len(list(run.calls(dialogue.id))) for dialogue in run.dialogues()), "none paid twice"


@pytest.mark.slow
def test_a_second_ctrl_c_gives_up_calls_in_flight_and_keeps_the_rest(cluster: Any, desk: Desk) -> None:
    process = desk.start(*on(cluster, "--rehearsal-latency", "1000", "--concurrency", "2", "--log-json"))
    assert process.stderr is not None
    ended = 0
    while ended < 6:
        line = process.stderr.readline()
        assert line, "ended before it was seen"
        ended += '"event": "call"' in line
    assert calls(desk) == 0, "there was no snapshot yet"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 130
    assert calls(desk) >= ended


@pytest.mark.slow
def test_a_lost_node_is_made_up_for_by_another(cluster: Any, desk: Desk, undisturbed: bytes) -> None:
    third = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    process = desk.start(*on(cluster, *SLOW, "--workers", "3", "--snapshots", f"file://{desk.folder}/bucket"))
    until(process, lambda: calls(desk, "bucket") > 10 and calls(desk) > 0)
    cluster.remove_node(third, allow_graceful=False)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert "was lost, or its node" in said
    assert "8 of 8 posts done: " in said
    assert desk.exported() == undisturbed == desk.exported("bucket"), "the run folder follows its snapshots"


@pytest.mark.slow
def test_a_killed_worker_goes_on_from_its_last_snapshot(cluster: Any, desk: Desk, undisturbed: bytes) -> None:
    process = desk.start(*on(cluster, *SLOW))
    until(process, lambda: calls(desk) > 10)
    kept = calls(desk)
    os.kill(actors(cluster)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "was lost, or its node; another goes on from the last snapshot" in said
    assert "8 of 8 posts done: " in said
    assert desk.exported() == undisturbed
    assert calls(desk) > kept
