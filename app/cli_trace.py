"""The `psyllm trace` commands."""

from __future__ import annotations

from typing import Annotated

import typer

from app.options import RunFolder, example

trace = typer.Typer(
    help="Look into a run's dialogues and calls.", epilog="Example:  psyllm trace show runs/demo", no_args_is_help=True
)


@trace.command("show", epilog=example("psyllm trace show runs/demo 3f2a"))
def trace_show(
    run: RunFolder,
    dialogue: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Start of a dialogue id or a post id; default: a good example."),
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Show this call as it was sent and answered.", show_default=False)
    ] = None,
) -> None:
    """Show one dialogue: the words, each turn's reasoning and verdicts, what was sent back and why."""
    from app.show import show_command

    show_command(run, dialogue, step)
