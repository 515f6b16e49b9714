"""A dialogue as OpenTelemetry spans, after the GenAI semantic conventions; needs the extra `otel`.

One trace: invoke_agent psyllm > invoke_agent ROLE (a visit of a graph node) > chat MODEL (a call). Ids follow from the
dialogue's, so that sending it again names the same spans.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from psyllm import __version__
from psyllm.records import Dialogue
from psyllm.runs import StoredCall
from psyllm.runs.steps import Node, totals, tree


def spans_of(dialogue: Dialogue, calls: Sequence[StoredCall], *, content: bool) -> Sequence[ReadableSpan]:
    """The spans of one dialogue; none for one without calls."""
    answered = [call for call in calls if call.started]
    if not answered:
        return ()
    memory = InMemorySpanExporter()
    resource = Resource({"service.name": "psyllm", "service.version": __version__})
    provider = TracerProvider(resource=resource, id_generator=_Ids(dialogue.id), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("psyllm", __version__)
    root = tracer.start_span("invoke_agent psyllm", start_time=_start(answered), attributes=_dialogue_facts(dialogue))
    root.set_attributes(_usage(answered))
    for node in tree(answered):
        place = set_span_in_context(root)
        visit = tracer.start_span(
            f"invoke_agent {node.role}", place, start_time=_start(node.calls), attributes=_node_facts(dialogue, node)
        )
        for call in node.calls:
            span = tracer.start_span(
                f"chat {call.model}", set_span_in_context(visit), SpanKind.CLIENT, start_time=_start([call])
            )
            span.set_attributes(_call_facts(dialogue, call) | (_words(call) if content else {}))
            for trouble in call.retries:
                span.add_event("retry", {"psyllm.trouble": trouble} if content else {}, timestamp=_start([call]))
            if call.parsed is None:
                span.set_status(Status(StatusCode.ERROR, call.error if content else "no answer that fits its schema"))
            span.end(_end([call]))
        visit.end(_end(node.calls))
    root.end(_end(answered))
    return memory.get_finished_spans()


def _dialogue_facts(dialogue: Dialogue) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "psyllm",
        "gen_ai.conversation.id": dialogue.id,
        "psyllm.post_id": dialogue.post_id,
        "psyllm.status": str(dialogue.status),
        "psyllm.reasons": [reason.code for reason in dialogue.reasons],
        "psyllm.modality": dialogue.plan.modality.chosen if dialogue.plan else "",
        "psyllm.forked_from": dialogue.forked_from or "",
        "psyllm.rehearsal": dialogue.provenance.rehearsal,
    }


def _node_facts(dialogue: Dialogue, node: Node) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": node.role,
        "gen_ai.conversation.id": dialogue.id,
        "psyllm.round": node.round,
        "psyllm.node": node.name,
        "psyllm.attempt": node.attempt,
    } | _usage(node.calls)


def _call_facts(dialogue: Dialogue, call: StoredCall) -> dict[str, Any]:
    settings = {
        f"gen_ai.request.{name}": call.sampling[name]
        for name in ("temperature", "top_p", "max_tokens", "seed")
        if name in call.sampling
    }
    return (
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": call.model_name,
            "gen_ai.request.model": call.model,
            "gen_ai.response.model": call.model,
            "gen_ai.response.finish_reasons": [call.finish_reason],
            "gen_ai.output.type": "json",
            "gen_ai.conversation.id": dialogue.id,
            "psyllm.step": call.position,
            "psyllm.path": call.path,
            "psyllm.prompts": call.prompts,
        }
        | _usage([call])
        | settings
    )


def _usage(calls: Sequence[StoredCall]) -> dict[str, Any]:
    sums = totals(calls)
    cost = {} if sums.cost_usd is None else {"gen_ai.usage.cost": sums.cost_usd}
    return {
        "gen_ai.usage.input_tokens": sums.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": sums.cached_tokens,
        "gen_ai.usage.output_tokens": sums.completion_tokens,
    } | cost


def _words(call: StoredCall) -> dict[str, Any]:
    def parts(text: str, kind: str = "text") -> list[dict[str, str]]:
        return [{"type": kind, "content": text}] if text else []

    sent = [{"role": role, "parts": parts(text)} for role, text in call.messages if role != "system"]
    told = [part for role, text in call.messages if role == "system" for part in parts(text)]
    said = parts(call.reasoning, "reasoning") + parts(call.reply)
    answer = [{"role": "assistant", "parts": said, "finish_reason": call.finish_reason}]
    return {
        "gen_ai.system_instructions": json.dumps(told, ensure_ascii=False),
        "gen_ai.input.messages": json.dumps(sent, ensure_ascii=False),
        "gen_ai.output.messages": json.dumps(answer, ensure_ascii=False),
    }


def _start(calls: Iterable[StoredCall]) -> int:
    return int(1e9 * min(call.started for call in calls))


def _end(calls: Iterable[StoredCall]) -> int:
    return int(1e9 * max(call.started + call.seconds for call in calls))


class _Ids(IdGenerator):
    """Trace and span ids that follow from the dialogue's id and the order of spans."""

    def __init__(self, dialogue_id: str) -> None:
        self._dialogue_id = dialogue_id
        self._made = 0

    def generate_trace_id(self) -> int:
        return int.from_bytes(hashlib.sha256(self._dialogue_id.encode()).digest()[:16], "big")

    def generate_span_id(self) -> int:
        self._made += 1
        return int.from_bytes(hashlib.sha256(f"{self._dialogue_id}/{self._made}".encode()).digest()[:8], "big")

    def is_trace_id_random(self) -> bool:
        return True
