"""`psyllm export`: accepted dialogues as training rows."""

from __future__ import annotations

from pathlib import Path

from app.screen import console
from corpus.export import export
from prompts.library import Library
from psyllm.runs import Run


def export_command(folder: Path, out: Path, *, include_rehearsal: bool, prompts: Path | None) -> None:
    """Write the file and say what is in it."""
    with Run(folder) as run:
        counsellor = Library(prompts).roles["counsellor"] if prompts else None
        written = export(run, out, include_rehearsal=include_rehearsal, counsellor=counsellor)
    console.print(f"{written} dialogues written to {out}")
    if include_rehearsal:
        console.print("rows marked rehearsal are stand-in words, not training data", style="yellow")
