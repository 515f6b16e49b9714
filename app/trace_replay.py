"""`psyllm trace replay` and `fork`: one call again, or the dialogue on another way from there."""

from __future__ import annotations

import asyncio
import difflib
import json
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
import uvloop
import yaml
from pydantic import BaseModel, ValidationError
from rich.columns import Columns
from rich.panel import Panel
from rich.text import Text

from app.editor import edit
from app.machine import show_json
from app.screen import COLOURS, STOPPED, calls, console, dollars, out, tokens
from psyllm import __version__
from psyllm.errors import Failure, NoMatch, UsageError
from psyllm.journal import Journal
from psyllm.logs import configure
from psyllm.records import Dialogue, Status
from psyllm.runs import Run, StoredCall
from psyllm.runs.find import Filter, find
from psyllm.runs.index import Index
from psyllm.runs.steps import totals
from psyllm.settings import load_settings

if TYPE_CHECKING:
    from graphs.fork import Fork
    from graphs.retrace import Origin

Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """What both commands are told."""

    run: Path
    dialogue: str
    step: int
    prompt: Path | None = None
    models: str | None = None
    settings: Path | None = None
    as_json: bool = False
    log_json: bool = False


def replay_command(place: Place) -> None:
    """Pay for one call again and print both answers. Raises UsageError, NoMatch or Failure."""
    configure(as_json=place.log_json)
    from graphs.replay import replay

    with _origin(place) as origin, _held(origin) as journal:
        done = _run(replay(origin, journal, place.prompt))
    if place.as_json:
        show_json(done)
        return
    if place.prompt and done.old.messages == done.new.messages:
        console.print(f"{place.prompt} changes nothing of what this step is sent", style="yellow")
    _side_by_side(done.old, done.new)


def fork_command(place: Place, *, edit: bool, yes: bool) -> None:
    """Say what a fork will cost, ask, run it, and say how it ended. Raises UsageError, NoMatch or Failure."""
    configure(as_json=place.log_json)
    if edit and place.prompt:
        raise UsageError("--edit and --prompt exclude each other", hint="fork twice to try both")
    from graphs.fork import prepare

    with _origin(place) as origin:
        reply = _edited(origin, _run(origin.reach(origin.edition(None).library)).schema) if edit else None
        fork = prepare(origin, place.prompt, reply)
        dialogue = _known(origin.run, fork.id)
        if dialogue is None:
            _estimate(fork)
            if not yes:
                _ask()
            dialogue = _grown(fork)
        else:
            console.print("this fork exists already: the same change of the same step", style="yellow")
    if place.as_json:
        show_json(dialogue)
        return
    ended = dialogue.status.replace("_", " ")
    out.print(Text.assemble((dialogue.id, "bold"), "  ", (ended, f"bold {COLOURS[dialogue.status]}")))
    for reason in dialogue.reasons:
        out.print(Text(f"  {reason.code} ({reason.role}, round {reason.round}): {reason.detail}"))
    pair = f"{origin.dialogue.id[:8]} {dialogue.id[:8]}"
    out.print(f"next  psyllm trace diff {place.run} {pair} --only different", style="dim", soft_wrap=True)


def _known(run: Run, fork_id: str) -> Dialogue | None:
    """The fork, if it was grown before; a failed one is tried again."""
    try:
        dialogue = run.dialogue(fork_id)
    except NoMatch:
        return None
    return None if dialogue.status is Status.FAILED else dialogue


def _estimate(fork: Fork) -> None:
    origin, here = fork.origin, len(fork.shared)
    how = "with an edited reply" if fork.reply else "asked again" if fork.sample else "with what was changed"
    whole = _if_accepted(fork) if origin.dialogue.status is not Status.ACCEPTED else ""
    sums = fork.estimate
    console.print(
        f"fork of {origin.dialogue.id} at step {here} ({origin.call.role}, {origin.call.path}), {how}:"
        f" {here} calls come from the journal. If it goes on like its parent, it pays {calls(sums.calls)},"
        f" {tokens(sums.prompt_tokens)} tokens in, {tokens(sums.completion_tokens)} out, {dollars(sums.cost_usd)},"
        f" {sums.seconds:.0f} s{whole}.",
        soft_wrap=True,
    )
    for ref, _ in fork.edition.changed:
        if fork.sample:
            console.print(f"{ref.id}@{ref.version} is word for word what the run has", style="yellow")
        elif ref.id not in fork.used:
            console.print(f"no call from step {here} on was made with {ref.id}: the edit changes none", style="yellow")


def _if_accepted(fork: Fork) -> str:
    """What accepted dialogues of the run take for so many rounds beyond the calls shared; empty if there are none."""
    with Index(fork.origin.run) as index:
        index.refresh()
        rows = [row for row in find(index, Filter(status=Status.ACCEPTED)) if row.forked_from is None]
    if not rows:
        return ""
    plan, shared = fork.origin.dialogue.plan, totals(fork.shared)
    dialogues = sum(row.rounds for row in rows) / len(plan.rounds) if plan else len(rows)
    more = round(sum(row.calls for row in rows) / dialogues) - shared.calls
    if more <= fork.estimate.calls:
        return ""
    sent = max(0, round(sum(row.prompt_tokens for row in rows) / dialogues) - shared.prompt_tokens)
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    priced = len(costs) == len(rows) and shared.cost_usd is not None
    cost = max(0.0, sum(costs) / dialogues - (shared.cost_usd or 0.0)) if priced else None
    return f"; if it is accepted like others here, about {calls(more)}, {tokens(sent)} tokens in, {dollars(cost)}"


def _grown(fork: Fork) -> Dialogue:
    from graphs.fork import run_fork

    made = 0
    with _held(fork.origin) as journal, console.status("growing the fork") as status:

        def count() -> None:
            nonlocal made
            made += 1
            status.update(f"growing the fork: {made} calls")

        return _run(run_fork(fork, journal, count))


@contextmanager
def _origin(place: Place) -> Iterator[Origin]:
    from graphs.retrace import Origin

    settings = load_settings(place.settings)
    with Run(place.run) as run:
        origin = Origin.find(run, place.dialogue, place.step, settings, place.models)
        if not place.as_json and not origin.recast and (changed := origin.changed()):
            console.print(f"since this run was started, these have changed: {', '.join(changed)}", style="yellow")
        yield origin


@contextmanager
def _held(origin: Origin) -> Iterator[Journal]:
    """The run's journal for writing; growing and this exclude each other."""
    run = origin.run
    try:
        journal = Journal.open(run.folder, run.fingerprint, __version__, shard=run.shard_of(origin.dialogue.id))
    except Failure as failure:
        hint = "stop it (Ctrl-C loses nothing) or wait for its end, then give the same command again"
        raise Failure("store", str(failure), hint=hint) from failure
    try:
        yield journal
    finally:
        journal.close()


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(work)
        except KeyboardInterrupt:
            console.print("stopped; the run is as it was, and calls that were answered are kept", style="yellow")
            sys.exit(STOPPED)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to agree to the cost", hint="add --yes")
    typer.confirm("Go on?", abort=True, err=True)


def _edited(origin: Origin, schema: type[BaseModel]) -> BaseModel:
    """The reply of the step as a person changed it. Raises UsageError if it does not fit, or nothing was changed."""
    call = origin.call
    if call.parsed is None:
        raise UsageError(f"step {call.position} has no reply that fits its schema", hint="fork at the step after it")
    said = yaml.safe_dump(json.loads(call.parsed), sort_keys=False, allow_unicode=True, width=100)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"step-{call.position}-{call.role}.yaml"
        file.write_text(said, encoding="utf-8")
        edit(file)
        text = file.read_text(encoding="utf-8")
    try:
        reply = schema.model_validate_json(json.dumps(yaml.safe_load(text)))
    except yaml.YAMLError as error:
        raise UsageError(f"the edited reply is not YAML: {error}", hint="edit it again") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'reply'}: {e['msg']}" for e in error.errors()[:6])
        raise UsageError(f"the edited reply does not fit its schema: {wrong}", hint="edit it again") from error
    if reply.model_dump_json() == schema.model_validate_json(call.parsed).model_dump_json():
        raise UsageError("the reply was not changed", hint="without --edit the step is asked again")
    return reply


def _side_by_side(old: StoredCall, new: StoredCall) -> None:
    width = (out.width - 2) // 2
    sides = [
        Panel(
            _answer(call),
            title=Text(f"{name}: {call.model}, {', '.join(call.prompts)}"),
            title_align="left",
            width=width,
        )
        for name, call in (("old", old), ("new", new))
    ]
    out.print(Columns(sides, padding=(0, 0)))
    for name, call in (("old", old), ("new", new)):
        out.print(
            f"{name}  {tokens(call.prompt_tokens)} tokens in, {tokens(call.completion_tokens)} out, "
            f"{call.seconds:.2f} s, {dollars(call.cost_usd)}",
            style="dim",
        )
    if old.messages != new.messages:
        out.print(Text("\nmessages", style="bold"))
        before, after = ("\n".join(f"{role}: {text}" for role, text in c.messages).splitlines() for c in (old, new))
        for line in difflib.unified_diff(before, after, lineterm="", n=1):
            if not line.startswith(("---", "+++")):
                colour = {"-": "red", "+": "green", "@": "dim"}.get(line[0], "")
                out.print(Text(line if line[0] != "@" else "…", style=colour))


def _answer(call: StoredCall) -> Text:
    if call.parsed is None:
        return Text(f"{call.reply}\n\n{call.error}", style="red")
    text = Text()
    if call.reasoning:
        text.append(f"{call.reasoning}\n\n", style="italic dim")
    for name, value in json.loads(call.parsed).items():
        text.append(f"{name}  ", style="magenta")
        text.append(f"{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}\n")
    return text
