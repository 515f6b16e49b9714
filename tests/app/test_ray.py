"""Growing on a Ray cluster: the same corpus as one process, whatever is lost on the way. The cluster is a real one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from psyllm.journal import shard_numbers
from tests.app.conftest import EIGHT, Desk, until
from tests.app.test_workers import calls

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
