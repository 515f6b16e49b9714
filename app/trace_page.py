"""`psyllm trace export`: dialogues as one self-contained page."""

from __future__ import annotations

from pathlib import Path

from app.screen import console
from app.web.reading import read
from app.web.render import static_page
from clinical import Knowledge
from psyllm.errors import Failure, UsageError
from psyllm.runs import Run


def export_command(folder: Path, short_ids: list[str], file: Path) -> None:
    """Write the page, whole or not at all. Raises NoMatch for an id, UsageError for a file that exists."""
    if file.exists():
        raise UsageError(f"{file} exists", hint="give another --html, or remove it")
    if not file.parent.is_dir():
        raise UsageError(f"folder {file.parent} does not exist", hint=f"mkdir -p {file.parent}")
    knowledge = Knowledge.load()
    with Run(folder) as run:
        dialogues = {dialogue.id: dialogue for dialogue in map(run.dialogue, short_ids)}.values()
        readings = [read(run, dialogue, knowledge, f"d{n}-") for n, dialogue in enumerate(dialogues, 1)]
    one = len(readings) == 1
    title = f"Dialogue {readings[0].dialogue.id[:8]}" if one else f"{len(readings)} dialogues of {folder.name}"
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(static_page(title, readings), encoding="utf-8")
        partial.rename(file)
    except OSError as error:
        raise Failure("store", f"cannot write {file}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    console.print(f"{len(readings)} dialogues written to {file}, {file.stat().st_size / 1000:.0f} kB")
