"""`psyllm grow --engine ray`: workers on the machines of a Ray cluster, each with a database on its own disk.

The run folder holds snapshots of the databases (psyllm/snapshots.py); with --snapshots URL they lie there, and the run
folder follows them. The posts are placed here, in copies of them; then each worker is an actor (app/ray_node.py) that
fetches its database, grows it, and saves it every 30 s and at the end. This process holds the locks, adds the reports
up, and replaces a worker that was lost (app/workers.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.grow import End, GrowOptions
from app.ray_node import News, Node
from app.screen import console
from app.worker import Job, Report
from app.workers import plan, work_through
from corpus.waiting import Waiting
from prompts.library import Library
from psyllm.errors import Failure, UsageError
from psyllm.journal import held, shard_numbers
from psyllm.settings import Rules, Settings
from psyllm.snapshots import Snapshots, fold_in

SNAPSHOT_S = 30.0
"""Between two snapshots of a database, where nothing else is said: what a lost node costs at most."""
AT_ONCE_S = 20.0
"""Seconds that the last snapshots may take when a run is stopped at once."""


async def grow_on_ray(
    settings: Settings, options: GrowOptions, rules: Rules, library: Library, waiting: Waiting
) -> End:
    """Grow on a cluster. Raises UsageError or Failure, the first that a worker reports."""
    if options.review or "desk" in settings.kinds(options.profile):
        what = "--review" if options.review else "a desk"
        raise UsageError(
            f"{what} and --engine ray do not go together", hint="people answer on one machine: --workers N"
        )
    options = replace(
        options,
        posts=[path.absolute() for path in options.posts],
        prompts=(prompts := options.prompts or settings.prompts) and prompts.absolute(),
        recipe=options.recipe and options.recipe.absolute(),
        run=options.run.absolute(),
    )
    run, snapshots = options.run, Snapshots(options.snapshots or str(options.run))

    def now() -> Path:
        if options.snapshots:
            for shard in snapshots.numbers():
                snapshots.fetch(shard, run)
        return run

    with cluster(options.address) as ray, ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        cores = int(ray.cluster_resources().get("CPU", 0))
        every_s = options.snapshot_s or SNAPSHOT_S
        options = replace(options, workers=options.workers or max(1, cores), snapshot_s=every_s)
        nodes = sum(node["Alive"] for node in ray.nodes())
        console.print(f"on Ray: {nodes} {'node' if nodes == 1 else 'nodes'}, {cores} cores, {options.workers} workers")
        if options.workers > cores:
            console.print("more workers than cores: some wait for others, or for further nodes", style="yellow")
        for shard in sorted({*shard_numbers(run), *snapshots.numbers(), *range(options.workers)}):
            stack.enter_context(held(run, shard))
            fold_in(run, shard)
        snapshots.tidy()
        stage, here = Path(scratch), Snapshots(str(now()))
        for shard in here.numbers():
            here.fetch(shard, stage)
        planned = plan(settings, replace(options, run=stage), rules, library, waiting)
        for shard in shard_numbers(stage):
            snapshots.save(shard, stage)
        remote = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(Node)
        following = asyncio.create_task(_follow(now, every_s))
        try:
            return await work_through(
                planned, settings, options, rules, lambda job: _Actor(remote, job, snapshots.url), now
            )
        finally:
            following.cancel()


async def _follow(now: Callable[[], Path], every_s: float) -> None:
    """Keep the run folder readable while it grows. What cannot be read now is read the next time."""
    while True:
        await asyncio.sleep(every_s)
        with suppress(Failure):
            await asyncio.to_thread(now)


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`, the one that runs here, or a new one of this machine alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("Ray is not installed", hint="pip install -c constraints.txt -e '.[ray]'") from None
    if address and address.startswith("ray://"):
        raise UsageError(
            f"--address {address} is that of Ray's client", hint="run psyllm on a node of the cluster, with HOST:6379"
        )
    try:
        if address and (host := address.rpartition(":"))[0]:
            socket.create_connection((host[0], int(host[2])), timeout=10).close()  # Ray itself tries for a minute
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, ValueError, RuntimeError) as error:
        raise Failure(
            "endpoint",
            f"no Ray cluster at {address or 'this machine'}: {str(error).strip().splitlines()[0]}",
            hint="`ray status` tells whether one runs; `ray start --head` starts one",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


class _Actor:
    """A worker on a node of the cluster."""

    lost = "was lost, or its node; another goes on from the last snapshot"

    def __init__(self, remote: Any, job: Job, url: str) -> None:
        self._actor = remote.remote(job, url, job.options.snapshot_s)

    async def reports(self) -> AsyncIterator[Report]:
        from ray.exceptions import RayActorError, RayError, RayTaskError

        try:
            async for found in self._actor.reports.remote():
                news: News = await found
                sys.stderr.writelines(news.said)
                yield news.report
        except RayActorError as error:
            if error.actor_init_failed:
                yield _unfit(error)
        except RayTaskError as error:
            yield _unfit(error)
        except RayError:
            return

    def stop(self) -> None:
        self._actor.stop.remote()

    async def end(self) -> None:
        from ray.exceptions import RayError

        with suppress(RayError, TimeoutError):
            await asyncio.wait_for(self._actor.end.remote(), AT_ONCE_S)


def _unfit(error: Exception) -> Report:
    """A node that cannot do what it is asked, as a worker would say it."""
    what = str(error).strip().splitlines()[-1]
    return Report(
        final=True,
        error=f"a node of the cluster cannot work: {what}",
        hint="every node needs this psyllm in the environment in which `ray start` ran",
        boundary="store",
    )
