"""`psyllm desk`: calls that wait for a person, one after the other, each answered in an editor.

The form is a file beside the call until it is answered, so that half an answer survives until the next day.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import typer
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from app.answer_form import Json, blank_form, filled
from app.editor import edit
from app.plain import plain
from app.screen import STOPPED, calls_wait, console, out
from psyllm.desk import ANSWERS, ERROR, FOLDER, REASONING, DeskCall, read_call, waiting_calls, waits, write
from psyllm.errors import UsageError
from psyllm.records import ROLES
from psyllm.runs import Run

DRAFT = ".draft.yaml"
CHANNEL = "reasoning_channel"
"""The field of a form that is no part of the answer: it goes where a reasoning model's own reasoning goes."""
LOOK_S = 1.0


def desk_command(folder: Path, role: str | None, *, listing: bool, watch: bool) -> None:
    """Show what waits and take answers. Raises UsageError for no run, an unknown role, or an editor that fails."""
    if role is not None and role not in ROLES:
        raise UsageError(f"unknown role {role!r}", hint=f"known: {', '.join(ROLES)}")
    Run(folder).close()
    try:
        if listing:
            _list(folder, role)
        else:
            _answer_all(folder, role, watch=watch)
    except (KeyboardInterrupt, typer.Abort):
        console.print(
            "\nstopped; what you began to write is kept, and waits for the next `psyllm desk`", style="yellow"
        )
        sys.exit(STOPPED)


def _list(folder: Path, role: str | None) -> None:
    calls = []
    for file in waiting_calls(folder, role):
        with suppress(FileNotFoundError):  # just taken
            calls.append(read_call(file))
    if not calls:
        console.print(_nothing(folder, role))
        return
    table = Table(title=f"{folder}: {calls_wait(len(calls))}", title_justify="left", box=None, pad_edge=False)
    for heading in ("role", "dialogue", "step", "since", ""):
        table.add_column(heading, header_style="bold", no_wrap=True)
    for call in calls:
        state = "to mend" if call.beside(ERROR).exists() else "begun" if call.beside(DRAFT).exists() else ""
        when = f"{datetime.fromtimestamp(call.since):%d %b %H:%M}, {_ago(call.since)}"
        table.add_row(call.role, call.dialogue[:8], _step(call), when, Text(state, "yellow"))
    out.print(table)
    out.print(f"each is a file in {folder / FOLDER}/ROLE", style="dim", soft_wrap=True)


def _answer_all(folder: Path, role: str | None, *, watch: bool) -> None:
    left: set[Path] = set()
    told = False
    while True:
        files = [file for file in waiting_calls(folder, role) if file not in left]
        if files:
            told = False
            with suppress(FileNotFoundError):  # just taken
                call = read_call(files[0])
                if _answer(call, len(files)):
                    console.print("answered", style="green")
                else:
                    left.add(call.file)
                    console.print("left for later", style="yellow")
        elif watch:
            if not told:
                console.print("waiting for further calls; Ctrl-C ends", style="dim")
                told = True
            time.sleep(LOOK_S)
        else:
            break
    if left:
        console.print(f"{calls_wait(len(left))} at the desk of {folder}, left for later")
    else:
        console.print(_nothing(folder, role))


def _answer(call: DeskCall, waiting: int) -> bool:
    """Show a call and take its answer; False if the person leaves it for later."""
    out.print(_shown(call, waiting))
    draft, form = call.beside(DRAFT), _form(call)
    if not draft.exists():
        write(draft, form.encode())
    while True:
        before = draft.read_bytes()
        edit(draft)
        if draft.read_bytes() == before:
            if before == form.encode():
                draft.unlink()
            return False
        answer, mistakes = _checked(draft, call)
        if not mistakes:
            break
        console.print("the answer does not fit yet:", style="red")
        for mistake in mistakes:
            console.print(f"  {mistake}", soft_wrap=True)
        if not typer.confirm("mend it now?", default=True, err=True):
            return False
    if not waits(call.file):
        raise UsageError(f"{call.file.name} was answered by somebody else meanwhile", hint=f"yours is kept in {draft}")
    if reasoning := answer.pop(CHANNEL, ""):
        write(call.beside(REASONING), str(reasoning).encode())
    write(call.beside(ANSWERS[0]), json.dumps(answer, ensure_ascii=False, indent=2).encode())
    call.beside(ERROR).unlink(missing_ok=True)
    draft.unlink()
    return True


def _form(call: DeskCall) -> str:
    """The empty form, below it as comments what went wrong before, and what was sent, the last message first."""
    notes = [f"{call.role}, step {_step(call)}, dialogue {call.dialogue}. Leave unchanged to answer later."]
    if (error := call.beside(ERROR)).exists():
        notes += error.read_text(encoding="utf-8", errors="replace").splitlines()
    for role, text in reversed(call.messages):
        notes += ["", f"-------- {role}", *plain(text).splitlines()]
    return blank_form(_schema(call)) + "\n" + "".join(f"# {note}".rstrip() + "\n" for note in notes)


def _schema(call: DeskCall) -> Json:
    """The answer's schema, led by the reasoning channel where one is wanted."""
    if not call.channel:
        return call.schema
    return call.schema | {"properties": {CHANNEL: {"type": "string"}} | call.schema["properties"]}


def _checked(draft: Path, call: DeskCall) -> tuple[Json, list[str]]:
    try:
        return filled(draft.read_bytes().decode("utf-8-sig"), _schema(call))
    except UsageError as error:
        return {}, [f"{error} -> {error.hint}"]
    except UnicodeDecodeError:
        return {}, ["is not UTF-8 -> save it as UTF-8"]


def _shown(call: DeskCall, waiting: int) -> RenderableType:
    """A call for reading. All words are data: markup in them stays text."""
    parts: list[RenderableType] = [
        Rule(style="dim"),
        Text(f"{call.role}   step {_step(call)}   dialogue {call.dialogue}   as {call.model}", style="bold"),
        Text(f"waits for {_ago(call.since)}   {calls_wait(waiting)}   {call.file}", style="dim"),
    ]
    for role, text in call.messages:
        parts += [Text(f"\n{role}", style="magenta"), Text(text)]
    if (error := call.beside(ERROR)).exists():
        parts += [Text("\nerror", style="magenta"), Text(error.read_text(errors="replace"), style="red")]
    return Group(*parts, Text())


def _step(call: DeskCall) -> str:
    return call.step + (f", sent back {call.correction}x" if call.correction else "")


def _ago(since: float) -> str:
    """How long something has waited: 5 s, 12 min, 3 h, 2 d."""
    seconds = max(0, int(time.time() - since))
    sizes = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    return next((f"{seconds // size} {unit}" for size, unit in sizes if seconds >= 2 * size), f"{seconds} s")


def _nothing(folder: Path, role: str | None) -> str:
    return f"nothing waits at the desk of {folder}" + (f" for the {role}" if role else "")
