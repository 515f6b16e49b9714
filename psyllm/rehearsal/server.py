"""The OpenAI chat API over HTTP: latency, slots, transport faults on demand, usage with a prefix cache, and the log."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from psyllm.rehearsal.answers import Answer, answer
from psyllm.rehearsal.request import Json, digest

HTTP_FAULTS = {
    "rate_limit": "429 with Retry-After",
    "rate_limit_bare": "429 without Retry-After",
    "unavailable": "503",
    "server_error": "500",
    "unauthorized": "401",
    "bad_json": "200 with a body that is not JSON",
    "truncate": "connection aborted in the middle of the body",
    "hang": "never answered",
    "disconnect": "closed before any byte",
    "empty": "200 with an empty body",
    "drip": "the body a byte at a time, for minutes",
    "enormous": "a body that does not end before 64 MiB",
    "refusal": "the model declines: no content, but a refusal",
    "length": "finish_reason length, the content cut",
}
_REFUSALS = {
    "rate_limit": (429, "rate_limit_exceeded"),
    "rate_limit_bare": (429, "rate_limit_exceeded"),
    "unavailable": (503, "overloaded"),
    "server_error": (500, "server_error"),
    "unauthorized": (401, "invalid_api_key"),
}
_BLOCK = 64
"""Characters of one cache block: 16 tokens of 4 characters."""
_BLOCKS_KEPT = 100_000
_CLIENT_GONE = 499


@dataclass(frozen=True)
class Options:
    seed: int = 0
    log: Path | None = None
    latency_ms: float = 0.0
    slots: int = 64
    """Requests that are worked on at the same time; others wait."""
    refuse: bool = False
    """Others do not wait, they get a 429."""
    fault_rate: float = 0.04
    """Share of answers with a planted content fault."""
    http_faults: Mapping[str, float] = field(default_factory=dict)
    """Transport fault -> share of requests."""
    http_fault_tries: int | None = None
    """Only the first so many sightings of one body can fail; None: all."""
    native_trace: bool = False
    """Every answer carries words on the reasoning channel, as a reasoning model's does."""


class Rehearsal:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.slots = asyncio.Semaphore(options.slots)
        self.sightings: Counter[str] = Counter()
        self.cache: OrderedDict[int, None] = OrderedDict()
        self.log = options.log.open("a", encoding="utf-8") if options.log else None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes([web.post("/v1/chat/completions", self.chat), web.get("/v1/models", self.models)])
        return app

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "rehearsal", "object": "model"}]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
            messages = body["messages"]
        except (json.JSONDecodeError, KeyError, TypeError):
            return _refused(400, "a chat request is a JSON object with `messages`")
        if body.get("stream") or not messages:
            return _refused(400, "this server does not stream, and needs at least one message")
        key = digest(body)
        self.sightings[key] += 1
        form = (body.get("response_format") or {}).get("json_schema") or {}
        entry = {"key": key, "schema": form.get("name", ""), "sighting": self.sightings[key]}
        if self.log:
            entry["messages"] = digest([(m.get("role"), m.get("content")) for m in messages])
            entry["port"] = (request.get_extra_info("peername") or ("", 0))[1]
        self.note("in", entry, status=None, planted=[])
        crowded = self.options.refuse and self.slots.locked()
        fault = "rate_limit_bare" if crowded else self.transport_fault(key, entry["sighting"])
        planted = [fault] if fault else []
        status = _CLIENT_GONE
        try:
            if fault in _REFUSALS:
                status = _REFUSALS[fault][0]
                return _refused(*_REFUSALS[fault], retry_after=fault == "rate_limit")
            async with self.slots:
                await asyncio.sleep(self.options.latency_ms / 1000)
                if fault == "hang":
                    await asyncio.Event().wait()
                options = self.options
                said = answer(body, seed=options.seed, fault_rate=options.fault_rate, native_trace=options.native_trace)
                planted += said.planted
                status = 0 if fault in ("disconnect", "truncate") else 200
                completion = self.completion(body, key, said, cut=fault == "length")
                if fault == "refusal":
                    completion["choices"][0]["message"] |= {"content": None, "refusal": "I can't help with that."}
                return await _deliver(request, completion, fault)
        finally:
            self.note("out", entry, status=status, planted=planted)

    def note(self, event: str, entry: Mapping[str, Any], *, status: int | None, planted: list[str]) -> None:
        """One line of the log, on the disk at once. Status 0: closed on purpose; 499: the client went first."""
        if self.log:
            line = {"t": round(time.time(), 4), "event": event, **entry, "status": status, "planted": planted}
            self.log.write(json.dumps(line) + "\n")
            self.log.flush()

    def transport_fault(self, key: str, sighting: int) -> str:
        """The fault of this sighting of a body, '' for none: always the same one for the same seed."""
        tries = self.options.http_fault_tries
        roll = random.Random(digest(self.options.seed, key, sighting)).random()
        for name, rate in self.options.http_faults.items():
            roll -= rate
            if roll < 0 and (tries is None or sighting <= tries):
                return name
        return ""

    def completion(self, body: Json, key: str, said: Answer, *, cut: bool) -> Json:
        message: Json = {"role": "assistant", "content": said.text[: len(said.text) // 2] if cut else said.text}
        if said.reasoning:
            message["reasoning_content"] = said.reasoning
        prompt, cached = self.read(body)
        given, thought = len(message["content"]) // 4, len(said.reasoning) // 4
        return {
            "id": f"chatcmpl-{key[:24]}",
            "system_fingerprint": "psyllm-rehearsal",
            "object": "chat.completion",
            "created": 0,
            "model": body.get("model", "rehearsal"),
            "choices": [{"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": given + thought,
                "total_tokens": prompt + given + thought,
                "prompt_tokens_details": {"cached_tokens": cached},
                "completion_tokens_details": {"reasoning_tokens": thought},
            },
        }

    def read(self, body: Json) -> tuple[int, int]:
        """Prompt tokens, and how many of them stood in whole blocks at the front of a recent prompt."""
        text = json.dumps([[m.get("role"), m.get("content")] for m in body["messages"]], ensure_ascii=False)
        chain, cached, unbroken = hash(body.get("model")), 0, True
        for start in range(0, len(text) - _BLOCK + 1, _BLOCK):
            chain = hash((chain, text[start : start + _BLOCK]))
            unbroken = unbroken and chain in self.cache
            cached += _BLOCK // 4 if unbroken else 0
            self.cache[chain] = None
            self.cache.move_to_end(chain)
        while len(self.cache) > _BLOCKS_KEPT:
            self.cache.popitem(last=False)
        return len(text) // 4, cached


async def _deliver(request: web.Request, completion: Json, fault: str) -> web.StreamResponse:
    payload = json.dumps(completion, ensure_ascii=False).encode()
    if fault == "bad_json":
        payload = payload[:-20] + b"]]" + b" " * 18
    elif fault == "empty":
        payload = b""
    elif fault in ("drip", "enormous"):
        return await _pour(request, payload, slowly=fault == "drip")
    elif fault in ("disconnect", "truncate"):
        reply = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(payload))})
        if fault == "truncate":
            await reply.prepare(request)
            await reply.write(payload[: len(payload) // 2])
        if request.transport is not None:
            request.transport.abort()
        return reply
    return web.Response(body=payload, content_type="application/json")


async def _pour(request: web.Request, payload: bytes, *, slowly: bool) -> web.StreamResponse:
    reply = web.StreamResponse(headers={"Content-Type": "application/json"})
    await reply.prepare(request)
    if slowly:
        for place in range(len(payload)):
            await reply.write(payload[place : place + 1])
            await asyncio.sleep(0.1)
    else:
        for _ in range(64):
            await reply.write(b" " * (1 << 20))
        await reply.write(payload)
    return reply


def _refused(status: int, code: str, *, retry_after: bool = False) -> web.Response:
    headers = {"Retry-After": "1"} if retry_after else {}
    error = {"message": f"rehearsed: {code}", "type": code, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)
