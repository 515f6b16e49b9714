"""`psyllm trace otel`: dialogues sent to an OpenTelemetry collector, see otel_spans.py."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from app.screen import console
from psyllm.errors import Failure, UsageError
from psyllm.records import Dialogue
from psyllm.runs import Run

LOCAL = "http://127.0.0.1:4318"
"""Where a collector listens if nothing else is said."""
TOGETHER = 20
"""Dialogues that are sent in one request."""


def otel_command(folder: Path, short_ids: list[str], endpoint: str | None, *, content: bool) -> None:
    """Send dialogues, or all of the run. Raises NoMatch for an id, Failure if the collector does not take them."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult

        from app.otel_spans import spans_of
    except ImportError:
        raise UsageError("OpenTelemetry is not installed", hint="pip install -c constraints.txt -e '.[otel]'") from None
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # its failures are ours to tell
    url = (endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or LOCAL).rstrip("/")
    exporter = OTLPSpanExporter(endpoint=url if url.endswith("/v1/traces") else f"{url}/v1/traces")
    sent = spans = 0
    with Run(folder) as run:
        ids = [run.dialogue(short).id for short in short_ids]
        dialogues = (run.dialogue(name) for name in ids) if ids else run.dialogues(forks=True)
        for group in _grouped(dialogues):
            batch = [span for d in group for span in spans_of(d, tuple(run.calls(d.id)), content=content)]
            if batch and exporter.export(batch) is not SpanExportResult.SUCCESS:
                hint = "is a collector listening there? --endpoint URL names another"
                raise Failure("endpoint", f"{url} did not take the traces", hint=hint)
            sent += len(group)
            spans += len(batch)
    exporter.shutdown()  # type: ignore[no-untyped-call]
    console.print(f"{sent} dialogues sent to {url} as {spans} spans", soft_wrap=True)
    if not content:
        console.print("without words; --content sends messages and answers too", style="dim")


def _grouped(dialogues: Iterable[Dialogue]) -> Iterable[list[Dialogue]]:
    group: list[Dialogue] = []
    for dialogue in dialogues:
        group.append(dialogue)
        if len(group) == TOGETHER:
            yield group
            group = []
    if group:
        yield group
