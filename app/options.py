"""What several commands have in common: arguments, options, the line with an example."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log to stderr as JSON: a line for every call and dialogue.")]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="Settings file; default: psyllm.toml here.", show_default=False)
]


def example(line: str) -> str:
    return f"Example:  {line}"


PromptFolder = Annotated[
    Path | None,
    typer.Option("--prompts", metavar="DIR", help="Folder that overlays the shipped prompts.", show_default=False),
]

RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe", metavar="FILE.yaml", help="How to read the source; see docs/intake.md.", show_default=False
    ),
]
ClientWords = Literal["simulated", "real"]
Engine = Literal["processes", "ray"]
