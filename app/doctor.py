"""`psyllm doctor`: is everything here that a run needs, and does each endpoint answer?"""

from __future__ import annotations

import asyncio
import platform
import sqlite3
import time
from contextlib import AsyncExitStack
from pathlib import Path

from langchain_core.messages import HumanMessage
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from agents.cast import checked_library
from app.screen import out
from clinical import Knowledge
from psyllm import __version__
from psyllm.chat import Chat, Transient, chat_model, http_session
from psyllm.errors import Failure, PsyllmError
from psyllm.forms import Misfit, form_of
from psyllm.servers import serving
from psyllm.settings import ModelSettings, load_settings

OK = Text("ok", style="green")
FAILED = Text("failed", style="red")


def doctor_command(profile: str | None, settings_file: Path | None) -> None:
    """Print one line a check. Raises Failure if any went wrong."""
    settings = load_settings(settings_file)
    library = checked_library(settings.prompts)
    knowledge = Knowledge.load(settings.grow.systems)
    names = settings.cast(profile)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(OK, f"psyllm {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")
    table.add_row(OK, f"{len(library.roles)} roles, {len(library.modalities)} modalities")
    table.add_row(OK, f"{len(knowledge.disorder_ids)} disorders in {', '.join(settings.grow.systems)}")
    serves: dict[str, list[str]] = {}
    for role, name in names.items():
        serves.setdefault(name, []).append(role)
    failed = 0
    for name, roles in serves.items():
        model = settings.models[name]
        try:
            line, good = asyncio.run(_tiny_call(name, model)), True
        except (PsyllmError, Transient) as error:
            hint = getattr(error, "hint", "")
            line, good = f"{error} -> {hint}" if hint else str(error), False
        failed += not good
        table.add_row(OK if good else FAILED, f"model {name} ({', '.join(roles)}): {line}")
    out.print(table)
    if failed:
        raise Failure(
            "endpoint", f"{failed} of {len(serves)} models do not answer", hint="mend psyllm.toml, then again"
        )


class Ready(BaseModel):
    ready: bool


async def _tiny_call(name: str, model: ModelSettings) -> str:
    if model.kind == "desk":
        return "answers come from people, with `psyllm desk RUN`; nothing to call"
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(http_session())
        urls = await stack.enter_async_context(serving(model, rehearsal_latency_ms=0, slots=1))
        return "; ".join([await _answer_of(chat_model(model, name, url, session), model, url) for url in urls])


async def _answer_of(chat: Chat, model: ModelSettings, base_url: str) -> str:
    started = time.monotonic()
    form = form_of(Ready, model.structured)
    ask = f'Answer with {{"ready": true}}. {form.instruction}'
    request = form.request | ({"seed": 1} if model.send_seed else {})
    message = await chat.ainvoke([HumanMessage(ask)], **request)
    seconds = time.monotonic() - started
    try:
        form.read(str(message.content), str(message.response_metadata.get("finish_reason")))
        fits = "answers fit their schema"
    except Misfit as misfit:
        fits = f"but this small answer did not fit its schema: {misfit}"
    used = message.usage_metadata
    counted = f"{used['input_tokens']} + {used['output_tokens']} tokens" if used else "no token counts"
    return f"{model.model} at {base_url} answered in {seconds:.2f} s, {counted}, {model.structured}: {fits}"
