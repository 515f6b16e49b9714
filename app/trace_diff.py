"""`psyllm trace diff`: two dialogues, step by step."""

from __future__ import annotations

import difflib
from pathlib import Path

from rich.table import Table
from rich.text import Text

from app.machine import show_json
from app.screen import dollars, out, tokens
from psyllm.errors import NoMatch
from psyllm.runs import Run
from psyllm.runs.compare import Change, Comparison, StepPair, compare
from psyllm.runs.steps import Totals

LONGEST = 400
"""Characters of a side that are shown side by side; longer ones as a diff of lines."""


def diff_command(folder: Path, short_a: str, short_b: str, *, only_different: bool, as_json: bool) -> None:
    """Print both, aligned. With `only_different`, raises NoMatch if nothing differs."""
    with Run(folder) as run:
        a, b = run.dialogue(short_a), run.dialogue(short_b)
        found = compare(a, tuple(run.calls(a.id)), b, tuple(run.calls(b.id)))
    steps = found.different if only_different else found.steps
    if as_json:
        show_json(_plain(found, steps))
    else:
        out.print(_head(found))
        for step in steps:
            _show(step)
    if only_different and not steps:
        raise NoMatch(f"{a.id} and {b.id} do not differ", hint="without --only different, every step is listed")


def _head(found: Comparison) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("", f"a {found.a.id[:8]}", f"b {found.b.id[:8]}"):
        table.add_column(heading)
    sides = ((found.a, found.a_totals), (found.b, found.b_totals))
    table.add_row("status", *(dialogue.status.replace("_", " ") for dialogue, _ in sides))
    table.add_row("reasons", *(", ".join(r.code for r in dialogue.reasons) or "-" for dialogue, _ in sides))
    if found.b.forked_from == found.a.id or found.a.forked_from == found.b.id:
        table.add_row("", *("fork" if dialogue.forked_from else "parent" for dialogue, _ in sides))
    table.add_row("calls", *(_spent(total) for _, total in sides))
    return table


def _spent(total: Totals) -> str:
    paid = tokens(total.prompt_tokens + total.completion_tokens)
    return f"{total.calls}, {paid} tokens, {dollars(total.cost_usd)}, {total.seconds:.1f} s"


def _show(step: StepPair) -> None:
    known = next((call for call in (step.a, step.b) if call is not None), None)
    places = [f"{side} step {call.position}" for side, call in (("a", step.a), ("b", step.b)) if call is not None]
    note = "the same call" if step.shared else "alike" if not step.changes else ""
    if known is not None and (step.a is None or step.b is None):
        note = "only in a" if step.b is None else "only in b"
    head = Text.assemble("\n", (step.path, "bold"), (f"  {step.role}  {', '.join(places)}  ", "magenta"), (note, "dim"))
    out.print(head)
    if note in ("only in a", "only in b"):
        said = [change for change in step.changes if change.what.startswith("words")]
        for change in said:
            out.print(Text(f"  {change.what}: {_short(change.a or change.b)}", style="dim"))
        return
    for change in step.changes:
        out.print(Text(f"  {change.what}", style="cyan"))
        _sides(change)


def _sides(change: Change) -> None:
    if max(len(change.a), len(change.b)) > LONGEST or "\n" in change.a + change.b:
        lines = difflib.unified_diff(change.a.splitlines(), change.b.splitlines(), lineterm="", n=0)
        for line in lines:
            if not line.startswith(("---", "+++", "@@")):
                out.print(Text(f"    {line}", style="red" if line[0] == "-" else "green"), soft_wrap=False)
        return
    for mark, text, colour in (("-", change.a, "red"), ("+", change.b, "green")):
        if text:
            out.print(Text(f"    {mark}{text}", style=colour))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:159]}…"


def _plain(found: Comparison, steps: tuple[StepPair, ...]) -> dict[str, object]:
    sides = {"a": (found.a, found.a_totals), "b": (found.b, found.b_totals)}
    return {
        **{
            side: {"id": d.id, "status": d.status, "forked_from": d.forked_from, "totals": t}
            for side, (d, t) in sides.items()
        },
        "steps": [
            {
                "path": step.path,
                "role": step.role,
                "a_step": step.a and step.a.position,
                "b_step": step.b and step.b.position,
                "shared": step.shared,
                "changes": step.changes,
            }
            for step in steps
        ],
    }
