"""One call, whole: look it up in the journal, wait for a place, send it, read the answer, send it back if it
does not fit its schema, write everything down.

The key under which an answer is reused holds the post, repeat, step path, role, model, sampling, schema and every
message; not the dialogue, the endpoint or the time. So a killed run pays no finished call again, a fork shares its
parent's calls, and a changed prompt is a new call.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from psyllm.chat import Chat, Transient, retrying
from psyllm.errors import Failure
from psyllm.forms import Form, Misfit, form_of
from psyllm.journal import Call, Journal, StoredReply, Usage, text_hash
from psyllm.messages import Message, Prompt, Step
from psyllm.records import Role
from psyllm.settings import ModelSettings

Answered = TypeVar("Answered", bound=BaseModel)
MAX_CORRECTIONS = 2
_LANGCHAIN = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
log = structlog.get_logger()


@dataclass
class Meter:
    """What a run has spent since it was started, for the screen."""

    calls: int = 0
    reused: int = 0
    retries: int = 0
    corrections: int = 0
    usage: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Tokens: prompt, cached, completion."""
    cost_usd: float = 0.0
    unpriced: bool = False


@dataclass(frozen=True)
class Endpoint:
    """A model that answers: its chat model, its settings, and the places for calls in flight."""

    name: str
    settings: ModelSettings
    chat: Chat
    base_url: str
    gate: asyncio.Semaphore


class Caller:
    """Answers the agents' calls from the journal or from the models."""

    def __init__(self, journal: Journal, endpoints: Mapping[Role, Endpoint], seed: int) -> None:
        self.journal = journal
        self.endpoints = endpoints
        self.seed = seed
        self.meter = Meter()
        self.stopping = asyncio.Event()
        """When set, calls in flight end, and no new one starts."""
        self._positions: dict[str, int] = defaultdict(int)

    def native(self, role: Role) -> bool:
        return self.endpoints[role].settings.trace == "native"

    def forget(self, dialogue_id: str) -> None:
        """A dialogue is over; its next step would be its first again."""
        self._positions.pop(dialogue_id, None)

    async def ask(self, step: Step, prompt: Prompt, schema: type[Answered]) -> tuple[Answered, str]:
        """The parsed answer and the model's own reasoning. Raises Failure, see agents.cast.Asker."""
        endpoint = self.endpoints[prompt.role]
        form = form_of(schema, endpoint.settings.structured)
        messages = _with_instruction(prompt.messages, form.instruction)
        for correction in range(MAX_CORRECTIONS + 1):
            reply, value = await self._call(endpoint, step, prompt, messages, form, correction)
            if not isinstance(value, Misfit):
                return value, reply.reasoning
            self.meter.corrections += 1
            complaint = f"{value} Answer again with the whole JSON object."
            messages = (*messages, Message("assistant", (reply.reply,)), Message("user", (complaint,)))
        raise Failure("schema", f"{prompt.role} at {step.path}: {value}")

    async def _call(
        self,
        endpoint: Endpoint,
        step: Step,
        prompt: Prompt,
        messages: tuple[Message, ...],
        form: Form[Answered],
        correction: int,
    ) -> tuple[StoredReply, Answered | Misfit]:
        sampling = self._sampling(endpoint.settings, step, prompt.role, correction)
        key = _key(step, prompt.role, correction, endpoint.settings, sampling, form, messages)
        position = self._positions[step.dialogue_id]
        self._positions[step.dialogue_id] += 1
        stored = self.journal.find(key)
        if stored is not None:
            self.meter.reused += 1
            self.journal.link(step.dialogue_id, position, key)
            return stored, _read(form, stored)
        async with endpoint.gate:
            if self.stopping.is_set():
                raise Failure("stopped", "the run is being stopped")
            reply, facts = await self._send(endpoint, messages, form, sampling)
        value = _read(form, reply)
        self.journal.record(
            Call(
                key=key,
                step=step,
                correction=correction,
                sample=0,
                role=prompt.role,
                model_name=endpoint.name,
                model=endpoint.settings.model,
                endpoint=endpoint.base_url,
                prompts=prompt.refs,
                schema_name=form.name,
                schema_sha256=form.sha256,
                sampling=sampling,
                messages=messages,
                reply=reply.reply,
                reasoning=reply.reasoning,
                parsed=None if isinstance(value, Misfit) else value.model_dump_json(),
                finish_reason=reply.finish_reason,
                error=str(value) if isinstance(value, Misfit) else "",
                **facts,
            ),
            position,
        )
        return reply, value

    async def _send(
        self, endpoint: Endpoint, messages: tuple[Message, ...], form: Form[Answered], sampling: Mapping[str, Any]
    ) -> tuple[StoredReply, dict[str, Any]]:
        """The raw reply, and what it took to get it."""
        troubles: list[str] = []
        started = time.time()
        outgoing: list[BaseMessage] = [_LANGCHAIN[m.role](m.text) for m in messages]
        seed = {"seed": sampling["seed"]} if "seed" in sampling else {}
        try:
            async for attempt in retrying(endpoint.settings.tries, self.stopping):
                with attempt:
                    started = time.time()
                    try:
                        message = await endpoint.chat.ainvoke(outgoing, **form.request, **seed)
                    except Transient as trouble:
                        troubles.append(str(trouble))
                        self.meter.retries += 1
                        raise
        except Transient as trouble:
            raise Failure(
                "endpoint",
                f"{endpoint.name}: {trouble} ({len(troubles)} tries)",
                hint="check the endpoint with `psyllm doctor`, then run the same command: it goes on",
                fatal=trouble.lost,
            ) from trouble
        reply = StoredReply(
            reply=str(message.content),
            reasoning=str(message.additional_kwargs.get("reasoning", "")),
            finish_reason=str(message.response_metadata.get("finish_reason") or "stop"),
        )
        usage = _usage(message)
        price = endpoint.settings.price
        cost = price.cost(usage.prompt, usage.cached, usage.completion) if price else None
        self._count(usage, cost)
        seconds = time.time() - started
        return reply, {
            "usage": usage,
            "cost_usd": cost,
            "started": started,
            "seconds": seconds,
            "retries": tuple(troubles),
        }

    def _sampling(self, settings: ModelSettings, step: Step, role: Role, correction: int) -> dict[str, Any]:
        sampling = dict(settings.sampling)
        if settings.send_seed:
            where = f"{self.seed}/{step.post_id}/{step.repeat}/{step.path}/{role}/{correction}"
            sampling["seed"] = int.from_bytes(hashlib.sha256(where.encode()).digest()[:4], "big") >> 1
        return sampling

    def _count(self, usage: Usage, cost: float | None) -> None:
        meter = self.meter
        meter.calls += 1
        meter.usage["prompt"] += usage.prompt
        meter.usage["cached"] += usage.cached
        meter.usage["completion"] += usage.completion
        meter.cost_usd += cost or 0.0
        meter.unpriced = meter.unpriced or cost is None


def _key(
    step: Step,
    role: Role,
    correction: int,
    settings: ModelSettings,
    sampling: Mapping[str, Any],
    form: Form[Answered],
    messages: tuple[Message, ...],
    sample: int = 0,
) -> bytes:
    parts = [
        step.post_id,
        step.repeat,
        f"{step.path}/{correction}",
        role,
        settings.model,
        sampling,
        form.sha256,
        [[message.role, [text_hash(part).hex() for part in message.parts]] for message in messages],
        sample,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


def _read(form: Form[Answered], reply: StoredReply) -> Answered | Misfit:
    try:
        return form.read(reply.reply, reply.finish_reason)
    except Misfit as misfit:
        return misfit


def _with_instruction(messages: tuple[Message, ...], instruction: str) -> tuple[Message, ...]:
    if not instruction:
        return messages
    first = messages[0]
    return (Message(first.role, (*first.parts, instruction)), *messages[1:])


def _usage(message: BaseMessage) -> Usage:
    used = message.usage_metadata if isinstance(message, AIMessage) else None
    if used is None:
        return Usage()
    return Usage(
        prompt=used["input_tokens"],
        cached=used.get("input_token_details", {}).get("cache_read", 0),
        completion=used["output_tokens"],
        reasoning=used.get("output_token_details", {}).get("reasoning", 0),
    )
