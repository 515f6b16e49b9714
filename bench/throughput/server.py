"""An OpenAI-compatible server with a fixed latency and a slot limit, whose own work is next to nothing:

    python -m bench.throughput.server --latency-ms 200 --slots 64 --answers answers.db

/v1/chat/completions answers psyllm: every role by the rehearsal's rules. An answer is computed once and kept in the
file; later the same request bytes get the same reply bytes from a table. /plain/v1/chat/completions gives every
request one reply of `--reply-bytes`. A request waits for a slot, holds it for the latency, then is answered, so that
the least time for a workload is known. GET /stats says what came in. Ends when its stdin ends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS answers (body BLOB PRIMARY KEY, asked BLOB, request BLOB, reply BLOB) WITHOUT ROWID"
)


def asked(messages: Iterable[Sequence[str]], seed: object) -> bytes:
    """What a request is known by in the file as well as in a run: its (role, text) messages and its seed."""
    return hashlib.sha256(json.dumps([[list(message) for message in messages], seed]).encode()).digest()


class Table:
    """Reply bytes by the hash of request bytes. What is missing is answered by the rehearsal, and kept."""

    def __init__(self, file: Path) -> None:
        from psyllm.rehearsal.answers import answer
        from psyllm.rehearsal.request import digest
        from psyllm.rehearsal.server import Options, Rehearsal

        self._answer, self._digest, self._rehearsal = answer, digest, Rehearsal(Options())
        self._db = sqlite3.connect(file)
        self._db.execute(SCHEMA)
        self._replies: dict[bytes, bytes] = dict(self._db.execute("SELECT body, reply FROM answers"))
        self.missed = 0

    def reply(self, raw: bytes) -> bytes:
        key = hashlib.sha256(raw).digest()
        if (known := self._replies.get(key)) is not None:
            return known
        self.missed += 1
        body = json.loads(raw)
        said = self._answer(body, seed=0, fault_rate=0, native_trace=False)
        completion = self._rehearsal.completion(body, self._digest(body), said, cut=False)
        reply = self._replies[key] = json.dumps(completion, ensure_ascii=False).encode()
        known_by = asked(((m["role"], m["content"]) for m in body["messages"]), body.get("seed"))
        self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (key, known_by, raw, reply))
        return reply

    def keep(self) -> None:
        self._db.commit()


def plain_reply(size: int) -> bytes:
    """A chat completion of so many bytes, or a little more where that is too few."""

    def completion(words: str) -> bytes:
        used = {"prompt_tokens": 2000, "completion_tokens": len(words) // 4, "total_tokens": 2000 + len(words) // 4}
        message = {"role": "assistant", "content": words}
        choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
        whole = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "mock", "choices": choices}
        return json.dumps(whole | {"usage": used}).encode()

    room = max(20, size - len(completion("")) - 2)
    return completion(("plain words that say nothing, " * (room // 30 + 1))[:room])


class Server:
    def __init__(self, latency_ms: float, slots: int, reply_bytes: int, answers: Path | None) -> None:
        self._latency_s = latency_ms / 1000
        self._slots = asyncio.Semaphore(slots)
        self._table = Table(answers) if answers else None
        self._plain = plain_reply(reply_bytes)
        self._busy = self._peak = self._requests = self._in = self._out = 0
        self._slot_s = 0.0
        self._first = self._last = self._cpu_at_first = self._cpu_at_last = 0.0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._psyllm),
                web.post("/plain/v1/chat/completions", self._same),
                web.get("/stats", self._stats),
            ]
        )
        return app

    async def _psyllm(self, request: web.Request) -> web.Response:
        if self._table is None:
            raise web.HTTPNotFound(text="started without --answers")
        raw = await self._arrived(request)
        return await self._serve(raw, self._table.reply(raw))

    async def _same(self, request: web.Request) -> web.Response:
        return await self._serve(await self._arrived(request), self._plain)

    async def _arrived(self, request: web.Request) -> bytes:
        if not self._requests:
            self._first, self._cpu_at_first = time.perf_counter(), time.process_time()
        self._requests += 1
        return await request.read()

    async def _serve(self, raw: bytes, reply: bytes) -> web.Response:
        async with self._slots:
            since = time.perf_counter()
            self._busy += 1
            self._peak = max(self._peak, self._busy)
            try:
                await asyncio.sleep(self._latency_s)
            finally:
                self._busy -= 1
                self._last, self._cpu_at_last = time.perf_counter(), time.process_time()
                self._slot_s += self._last - since
        self._in += len(raw)
        self._out += len(reply)
        return web.Response(body=reply, content_type="application/json")

    async def _stats(self, _: web.Request) -> web.Response:
        if self._table:
            self._table.keep()
        requests = max(1, self._requests)
        stats: dict[str, Any] = {
            "calls": self._requests,
            "missed": self._table.missed if self._table else 0,
            "slot_s": self._slot_s,
            "peak_busy": self._peak,
            "window_s": self._last - self._first,
            "server_cpu_s": self._cpu_at_last - self._cpu_at_first,
            "request_bytes": self._in / requests,
            "reply_bytes": self._out / requests,
        }
        return web.json_response(stats)


async def serve(server: Server) -> None:
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    gc.collect()
    gc.freeze()  # the table is never garbage; looking through it would stall the slots
    sys.stdout.write(f"READY http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wait_for_end() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    await ended.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=200)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--reply-bytes", type=int, default=900, help="of a whole plain reply")
    parser.add_argument("--answers", type=Path, help="where psyllm's answers are kept; without it, there are none")
    given = parser.parse_args()

    async def run() -> None:
        await serve(Server(given.latency_ms, given.slots, given.reply_bytes, given.answers))

    uvloop.run(run())


if __name__ == "__main__":
    main()
