"""The rehearsal server: `python -m psyllm.rehearsal --port 0`

Prints READY and its base URL when it listens. Ends on SIGTERM, and when its stdin ends: it dies with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from psyllm.errors import UsageError
from psyllm.rehearsal.server import HTTP_FAULTS, Options, Rehearsal


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop. Wrong flags exit with status 2."""
    given = _parser().parse_args(arguments)
    try:
        options = Options(
            seed=given.seed,
            log=given.log,
            latency_ms=given.latency_ms,
            slots=given.slots,
            refuse=given.refuse,
            fault_rate=given.fault_rate,
            http_faults=dict(given.http_fault),
            http_fault_tries=given.http_fault_tries,
            native_trace=given.native_trace,
        )
        _runner()(_serve(options, given.port, watch_stdin=not given.no_stdin))
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n{error.hint}\n")
        sys.exit(error.exit_code)


async def _serve(options: Options, port: int, *, watch_stdin: bool) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        app = Rehearsal(options).app()
    except OSError as error:
        raise UsageError(
            f"cannot write the log {options.log}: {error.strerror}", hint="name a writable file"
        ) from error
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError as error:
            raise UsageError(f"cannot listen on port {port}: {error.strerror}", hint="try --port 0") from error
        sys.stdout.write(f"READY http://127.0.0.1:{runner.addresses[0][1]}/v1\n")
        sys.stdout.flush()
        if watch_stdin:
            threading.Thread(target=_until_closed, args=(loop, stop.set), daemon=True).start()
        await stop.wait()
    finally:
        await runner.cleanup()


def _until_closed(loop: asyncio.AbstractEventLoop, done: Callable[[], None]) -> None:
    """Wait for the end of stdin; the kernel closes it when the process that holds its other end is gone."""
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(done)


def _runner() -> Callable[..., None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


def _http_fault(text: str) -> tuple[str, float]:
    name, _, rate = text.partition("=")
    try:
        if name in HTTP_FAULTS:
            return name, _share(rate)
    except argparse.ArgumentTypeError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RATE, rate from 0 to 1, name of {', '.join(HTTP_FAULTS)}")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m psyllm.rehearsal", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="JSON lines: one as a request arrives, one as it is answered")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="time that one answer takes")
    parser.add_argument("--slots", type=_count, default=64, help="answers worked on at the same time")
    parser.add_argument("--refuse", action="store_true", help="answer 429 where no slot is free")
    parser.add_argument("--fault-rate", type=_share, default=0.04, help="share of answers with a planted content fault")
    parser.add_argument(
        "--http-fault", type=_http_fault, action="append", default=[], metavar="NAME=RATE", help=", ".join(HTTP_FAULTS)
    )
    parser.add_argument("--http-fault-tries", type=_count, metavar="K", help="only a body's first K sightings can fail")
    parser.add_argument("--native-trace", action="store_true", help="every answer comes with words of reasoning")
    parser.add_argument("--no-stdin", action="store_true", help="do not end when stdin ends")
    return parser


if __name__ == "__main__":
    main()
