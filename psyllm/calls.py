"""One call, whole: see that it fits the model, look it up in the journal, wait for a place, send it, read the answer,
send it back if it does not fit its schema, write everything down.

The key under which an answer is reused holds the post, repeat, step path, role, model, sampling, schema and every
message; not the dialogue, the endpoint or the time. So a killed run pays no finished call again, a fork shares its
parent's calls, and a changed prompt is a new call.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from psyllm.budget import Spent
from psyllm.chat import Transient, retrying
from psyllm.desk import Desk
from psyllm.endpoints import Address, Endpoint
from psyllm.errors import Failure
from psyllm.forms import Form, Misfit, form_of
from psyllm.journal import Journal
from psyllm.messages import CHARACTERS_PER_TOKEN, Message, Prompt, Step, with_instruction
from psyllm.records import Role
from psyllm.rows import Call, StoredReply, Usage, text_hash
from psyllm.settings import ModelSettings

Answered = TypeVar("Answered", bound=BaseModel)
MAX_CORRECTIONS = 2
REHEARSAL_FINGERPRINT = "psyllm-rehearsal"
"""What the rehearsal server calls itself in every answer, however it is reached."""
_LANGCHAIN = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
log = structlog.get_logger()


@dataclass
class Meter:
    """What a run has spent since it was started, for the screen."""

    calls: int = 0
    reused: int = 0
    retries: int = 0
    usage: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Tokens: prompt, cached, completion."""
    cost_usd: float = 0.0
    unpriced: bool = False
    at_desk: int = 0
    """Calls that wait at the desk now."""

    def spent(self, before: Spent) -> Spent:
        """This, and what was spent before."""
        tokens = self.usage["prompt"] + self.usage["completion"]
        return Spent(before.cost_usd + self.cost_usd, before.tokens + tokens, before.unpriced)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back for one call, and from where."""

    message: AIMessage
    endpoint: str
    started: float
    """Unix time of the request that was answered."""
    seconds: float


class Caller:
    """Answers the agents' calls from the journal or from the models."""

    def __init__(self, journal: Journal, endpoints: Mapping[Role, Endpoint], seed: int, sample: int = 0) -> None:
        """`sample` is 0 for growing; a replay takes the next number, and so pays for a new answer."""
        self.journal = journal
        self.endpoints = endpoints
        self.seed = seed
        self.sample = sample
        self.meter = Meter()
        self.stopping = asyncio.Event()
        """When set, calls in flight end, and no new one starts."""
        self.on_answer: Callable[[], None] = lambda: None
        """Called when an answer has been paid, and counted."""
        self._positions: dict[str, int] = defaultdict(int)
        self._rehearsed: set[str] = set()

    def beside(self, endpoints: Mapping[Role, Endpoint]) -> Caller:
        """The same run with other models at the table: journal, meter, places in dialogues and stopping are shared."""
        other = copy.copy(self)
        other.endpoints = endpoints
        return other

    def native(self, role: Role) -> bool:
        return self.endpoints[role].settings.trace == "native"

    def troubled(self) -> list[str]:
        """A line for every address that is gone, or that takes fewer calls at once than it might."""
        lines = []
        for name, address in self._addresses():
            gate = address.gate
            if address.gone:
                lines.append(f"{name}: {address.base_url} cannot be reached; tried again every few seconds")
            elif gate.width < gate.places:
                lines.append(f"{name}: {address.base_url} is busy, {gate.width} of {gate.places} places")
        return lines

    def drain(self) -> None:
        """No further dialogue begins: earlier rounds go first from now on, so that the last dialogues end together."""
        for _, address in self._addresses():
            address.gate.drain()

    def _addresses(self) -> Iterator[tuple[str, Address]]:
        """Every address once, with the name of its model."""
        for endpoint in {each.name: each for each in self.endpoints.values()}.values():
            yield from ((endpoint.name, address) for address in endpoint.addresses)

    def go_on(self, dialogue_id: str, position: int) -> None:
        """A fork's next call is its step `position`; those before are its parent's."""
        self._positions[dialogue_id] = position

    def forget(self, dialogue_id: str) -> None:
        """A dialogue is over; its next step would be its first again."""
        self._positions.pop(dialogue_id, None)
        self._rehearsed.discard(dialogue_id)

    def rehearsed(self, dialogue_id: str) -> bool:
        """Whether the rehearsal backend gave any answer of this dialogue."""
        return dialogue_id in self._rehearsed

    async def ask(self, step: Step, prompt: Prompt, schema: type[Answered]) -> tuple[Answered, str]:
        """The parsed answer and the model's own reasoning. Raises Failure, see agents.cast.Asker."""
        endpoint = self.endpoints[prompt.role]
        form = form_of(schema, endpoint.settings.structured)
        messages = with_instruction(prompt.messages, form.instruction)
        for correction in range(MAX_CORRECTIONS + 1):
            _check_budget(endpoint.settings, step, prompt.role, messages)
            position = self._positions[step.dialogue_id]
            self._positions[step.dialogue_id] += 1
            reply, value = await self._call(endpoint, step, prompt, messages, form, correction, position)
            if not isinstance(value, Misfit):
                return value, reply.reasoning
            complaint = f"{value} Answer again with the whole JSON object."
            messages = (*messages, Message("assistant", (reply.reply,)), Message("user", (complaint,)))
        raise Failure("schema", f"{prompt.role} at {step.path}: {value}")

    async def once(
        self,
        step: Step,
        prompt: Prompt,
        schema: type[Answered],
        correction: int = 0,
        verbatim: tuple[Message, ...] | None = None,
    ) -> Answered | Misfit:
        """One call and no more, written down as part of no dialogue: a replay.

        `verbatim` messages are sent as they stand, instead of the prompt's. Raises Failure('budget' or 'endpoint').
        """
        endpoint = self.endpoints[prompt.role]
        form = form_of(schema, endpoint.settings.structured)
        messages = verbatim or with_instruction(prompt.messages, form.instruction)
        _check_budget(endpoint.settings, step, prompt.role, messages)
        _, value = await self._call(endpoint, step, prompt, messages, form, correction, position=None)
        return value

    async def _call(
        self,
        endpoint: Endpoint,
        step: Step,
        prompt: Prompt,
        messages: tuple[Message, ...],
        form: Form[Answered],
        correction: int,
        position: int | None,
    ) -> tuple[StoredReply, Answered | Misfit]:
        sampling = self._sampling(endpoint.settings, step, prompt.role, correction)
        key = _key(step, prompt.role, correction, endpoint.settings, sampling, form, messages, self.sample)
        await self.journal.room()
        if (stored := self.journal.find(key)) is not None:
            self.meter.reused += 1
            if position is not None:
                self.journal.link(step.dialogue_id, position, key)
            self._mark(step, stored)
            return stored, _read(form, stored)
        asked = Call(
            key=key,
            step=step,
            correction=correction,
            sample=self.sample,
            role=prompt.role,
            model_name=endpoint.name,
            model=endpoint.settings.model,
            endpoint=endpoint.addresses[0].base_url,
            prompts=prompt.refs,
            schema_name=form.name,
            schema_sha256=form.sha256,
            sampling=sampling,
            messages=messages,
        )
        troubles: list[str] = []
        try:
            answer = await self._send(endpoint, asked, form, troubles)
        except Failure as failure:
            if failure.boundary == "endpoint":
                unanswered = hashlib.sha256(key + secrets.token_bytes(8)).digest()
                lost = replace(asked, key=unanswered, retries=tuple(troubles), error=str(failure))
                self.journal.record(lost, position)
            raise
        reply, message = _stored(answer.message), answer.message
        value = _read(form, reply)
        usage = _usage(message)
        price = endpoint.settings.price
        cost = price.cost(usage.prompt, usage.cached, usage.completion) if price else None
        self._count(usage, cost)
        self._mark(step, reply)
        answered = replace(
            asked,
            endpoint=answer.endpoint,
            reply=reply.reply,
            reasoning=reply.reasoning,
            parsed=None if isinstance(value, Misfit) else value.model_dump_json(),
            finish_reason=reply.finish_reason,
            usage=usage,
            cost_usd=cost,
            started=answer.started,
            seconds=answer.seconds,
            retries=tuple(troubles),
            error=str(value) if isinstance(value, Misfit) else "",
            rehearsal=reply.rehearsal,
        )
        self.journal.record(answered, position)
        log.info(
            "call",
            call=f"{step.path}/{correction}",
            role=prompt.role,
            model=endpoint.name,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
            cost_usd=cost,
            seconds=round(answer.seconds, 3),
            fits=answered.parsed is not None,
        )
        return reply, value

    async def _send(self, endpoint: Endpoint, asked: Call, form: Form[Answered], troubles: list[str]) -> _Answer:
        """The answer, from whichever address gives it; what went wrong before is added to `troubles`."""
        outgoing: list[BaseMessage] = [_LANGCHAIN[m.role](m.text) for m in asked.messages]
        seed = {"seed": asked.sampling["seed"]} if "seed" in asked.sampling else {}

        async def once() -> _Answer:
            address = endpoint.address(asked.step.post_id, len(troubles))
            async with address.gate.place(asked.step.round) as place:
                if self.stopping.is_set():
                    raise Failure("stopped", "the run is being stopped")
                started, clock = time.time(), time.monotonic()
                if isinstance(address.chat, Desk):
                    message = await self._at_desk(address.chat, asked, form, endpoint.settings)
                else:
                    try:
                        message = await address.chat.ainvoke(outgoing, **form.request, **seed)
                    except Transient as trouble:
                        self._trouble(asked, address, trouble, troubles)
                        if trouble.busy:
                            place.refused()
                        raise
                    address.reached()
                    place.answered()
                return _Answer(message, address.base_url, started, time.monotonic() - clock)

        try:
            return await once()
        except Transient as trouble:
            failed = trouble
        try:
            async for attempt in retrying(endpoint.settings.tries, self.stopping):
                with attempt:
                    if attempt.retry_state.attempt_number == 1:
                        raise failed
                    return await once()
        except Transient as trouble:
            raise Failure(
                "endpoint",
                f"{endpoint.name}: {trouble} ({len(troubles)} tries)",
                hint="check the endpoint with `psyllm doctor`, then run the same command: it goes on",
                fatal=trouble.lost and endpoint.gone,
            ) from trouble
        raise AssertionError("tenacity ends with an answer or an error")

    def _trouble(self, asked: Call, address: Address, trouble: Transient, troubles: list[str]) -> None:
        if trouble.lost:
            address.lost()
        troubles.append(str(trouble))
        self.meter.retries += 1
        log.info("retry", call=f"{asked.step.path}/{asked.correction}", trouble=str(trouble))

    async def _at_desk(self, desk: Desk, asked: Call, form: Form[Answered], settings: ModelSettings) -> AIMessage:
        self.meter.at_desk += 1
        try:
            answer = await desk.answer(asked, form, self.stopping, channel=settings.trace == "native")
        finally:
            self.meter.at_desk -= 1
        return AIMessage(answer.text, additional_kwargs={"reasoning": answer.reasoning})

    def _mark(self, step: Step, reply: StoredReply) -> None:
        if reply.rehearsal:
            self._rehearsed.add(step.dialogue_id)

    def _sampling(self, settings: ModelSettings, step: Step, role: Role, correction: int) -> dict[str, Any]:
        sampling = dict(settings.sampling)
        if settings.send_seed:
            where = f"{self.seed}/{step.post_id}/{step.repeat}/{step.path}/{role}/{correction}"
            where += f"/{self.sample}" if self.sample else ""
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
        self.on_answer()


def _check_budget(settings: ModelSettings, step: Step, role: Role, messages: tuple[Message, ...]) -> None:
    """Raises Failure('budget') for a prompt that leaves no room for its answer; a schema beside it is not counted."""
    tokens = sum(len(message.text) for message in messages) // CHARACTERS_PER_TOKEN
    if tokens + settings.answer_tokens > settings.context:
        raise Failure(
            "budget",
            f"{role} at {step.path}: about {tokens} tokens of prompt and {settings.answer_tokens} for the answer"
            f" do not fit the context of {settings.context}",
            hint="lower max_tokens, take a model with a larger context, or set `context` to what it really holds",
        )


def _key(
    step: Step,
    role: Role,
    correction: int,
    settings: ModelSettings,
    sampling: Mapping[str, Any],
    form: Form[Answered],
    messages: tuple[Message, ...],
    sample: int,
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


def _stored(message: AIMessage) -> StoredReply:
    facts = message.response_metadata
    return StoredReply(
        reply=str(message.content),
        reasoning=str(message.additional_kwargs.get("reasoning", "")),
        finish_reason=str(facts.get("finish_reason") or "stop"),
        rehearsal=facts.get("system_fingerprint") == REHEARSAL_FINGERPRINT,
    )


def _usage(message: AIMessage) -> Usage:
    used = message.usage_metadata
    if used is None:
        return Usage()
    return Usage(
        prompt=used["input_tokens"],
        cached=used.get("input_token_details", {}).get("cache_read", 0),
        completion=used["output_tokens"],
        reasoning=used.get("output_token_details", {}).get("reasoning", 0),
    )
