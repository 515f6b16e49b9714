"""`psyllm trace why`: the verdict, the evidence, the step and role to blame, and one command to go on with."""

from __future__ import annotations

from pathlib import Path

from rich.padding import Padding
from rich.text import Text

from app.machine import plain_data, show_json
from app.screen import COLOURS, REHEARSAL, out
from psyllm.runs import Run
from psyllm.runs.why import Blame, explain


def why_command(folder: Path, short_id: str, *, as_json: bool) -> None:
    """Print why a dialogue ended as it did. Raises NoMatch or UsageError."""
    with Run(folder) as run:
        dialogue = run.dialogue(short_id)
        why = explain(dialogue, tuple(run.calls(dialogue.id)))
    if as_json:
        show_json(plain_data(why) | {"next": why.next_command(folder)})
        return
    out.print(Text.assemble((f"{dialogue.id}  ", "bold"), (why.verdict, f"bold {COLOURS[why.status]}")))
    for blame in why.blames:
        _show(blame)
    if why.guidance:
        out.print(Text.assemble("\nwhat was asked  ", (why.guidance, "yellow")))
    if why.repairs:
        turns = "1 turn was" if why.repairs == 1 else f"{why.repairs} turns were"
        out.print(Text(f"\n{turns} sent back and repaired on the way", style="dim"))
    out.print(Text.assemble("\nnext  ", (why.next_command(folder), "bold")), soft_wrap=True)
    if dialogue.provenance.rehearsal:
        out.print(Text(REHEARSAL, style="yellow"))


def _show(blame: Blame) -> None:
    where = [blame.role]
    where += [f"round {blame.round}"] if blame.round else []
    where += [f"step {blame.step}"] if blame.step is not None else []
    where += [f"judged at step {blame.judged_at}"] if blame.judged_at is not None else []
    out.print(Text.assemble("\n", (blame.code, "bold red"), (f"  {blame.meaning}", "dim")))
    out.print(Padding(Text(", ".join(where), style="magenta"), (0, 0, 0, 2)))
    if blame.detail:
        out.print(Padding(Text(f"“{blame.detail}”", style="bold"), (0, 0, 0, 2)))
    if blame.words and blame.words != blame.detail:
        words = Text(blame.words, style="dim")
        if blame.detail:
            words.highlight_words([blame.detail], "bold red not dim")
        out.print(Padding(words, (0, 0, 0, 2)))
