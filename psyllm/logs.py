"""Logging: human lines on stderr, or JSON for programs; never a post's words, never a key, never local variables.

Every line of a dialogue carries its id, every line of a call its place (`call=2/respond/0/0`) and role.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog

LONGEST = 160
"""Characters of any value that is logged: an endpoint's complaint may repeat what it was sent."""


def configure(*, as_json: bool = False) -> None:
    """Set structlog up for a command. As JSON, calls and ended dialogues are logged too, a line each."""
    shown: list[structlog.typing.Processor]
    if as_json:
        shown = [structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer()]
    else:
        shown = [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _discreet,
            _where,
            *shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO if as_json else logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _discreet(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut long values."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
    return event


def _where(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Of an exception its type and where it rose. Its message may quote an answer; the dialogue's record has it."""
    if event.pop("exc_info", None):
        kind, _, frames = sys.exc_info()
        if kind is not None:
            event["exception"] = "".join(traceback.format_tb(frames)) + kind.__name__
    return event
