"""`psyllm prompt lint`: every mistake of every prompt file in one pass, once or whenever a file changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rich.text import Text

from agents import markers
from agents.cast import clinical_names
from app.git import git
from app.prompt import is_shipped, overlay_of
from app.screen import console, out
from clinical import Knowledge
from prompts.files import Mistake, PromptFile, parse, read
from prompts.library import FOLDERS, SHIPPED, Library
from prompts.matter import Clinical
from psyllm.errors import PsyllmError


def lint_command(prompts: Path | None, settings_file: Path | None, *, watch: bool) -> None:
    """Print every mistake. Raises PsyllmError if there is one, unless watching; Ctrl-C ends the watch."""
    overlay = overlay_of(prompts, settings_file)
    clinical = clinical_names(Knowledge.load())
    count = _report(overlay, clinical)
    if watch:
        with suppress(KeyboardInterrupt):
            _watch(overlay, clinical)
    elif count:
        raise PsyllmError(_counted(count), hint="prompts/README.md says what a prompt file holds")


def _watch(overlay: Path | None, clinical: Clinical) -> None:
    from watchfiles import watch

    folders = [folder for folder in (overlay, SHIPPED) if folder]
    told = False
    for changes in watch(*folders, rust_timeout=500, yield_on_timeout=True):
        if not told:
            console.print(f"watching {', '.join(map(str, folders))}; Ctrl-C ends", style="dim", soft_wrap=True)
            told = True
        if changes:
            out.print(Text(f"\n{time.strftime('%H:%M:%S')}", style="dim"))
            _report(overlay, clinical)


def _report(overlay: Path | None, clinical: Clinical) -> int:
    """Print mistakes, notes and the counts; the number of mistakes."""
    library = Library(overlay, clinical)
    mistakes = sorted((*library.mistakes, *markers.mistakes(library), *_unversioned(library)))
    for mistake in mistakes:
        place = Text(f"{mistake.path}:{mistake.line}: ", style="bold")
        out.print(place.append(Text(mistake.text, style="red")), soft_wrap=True)
    for note in _notes(library):
        out.print(Text(note, style="yellow"), soft_wrap=True)
    files = f"{len(library.roles)} roles, {len(library.modalities)} modalities"
    out.print(f"prompts: {files}: {_counted(len(mistakes))}")
    out.file.flush()
    return len(mistakes)


def _counted(count: int) -> str:
    return f"{count} mistake{'s' * (count > 1)}" if count else "no mistake"


def _unversioned(library: Library) -> Iterator[Mistake]:
    """Files that changed under the same version: against the shipped one they replace, and against git."""
    for file in library.files():
        before = None if is_shipped(file) else read(SHIPPED / FOLDERS[file.kind] / file.path.name, file.kind)[0]
        if before is not None and _same_version(before, file):
            yield _change(file, "differs from the shipped file of this version")
    files = {file.path.resolve(): file for file in library.files()}
    for folder in filter(None, (SHIPPED, library.overlay)):
        for path, raw in _changed_since_commit(folder):
            if path not in files:
                continue
            file = files[path]
            committed, _ = parse(path, raw, file.kind)
            if committed is not None and _same_version(committed, file):
                yield _change(file, "changed since the last commit under the same version")


def _same_version(before: PromptFile, now: PromptFile) -> bool:
    return before.matter.version == now.matter.version and before.text != now.text


def _change(file: PromptFile, what: str) -> Mistake:
    return Mistake(file.path, file.line_of("version"), f"{file.matter.version}: {what}; raise version")


def _changed_since_commit(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """(path, its committed bytes) of every prompt that differs from git's HEAD; nothing outside a git checkout."""
    listed = git(folder, "diff", "--name-only", "--relative", "-z", "HEAD", "--", *FOLDERS.values())
    for name in (listed or b"").decode().split("\0"):
        committed = git(folder, "show", f"HEAD:./{name}") if name.endswith(".md") else None
        if committed is not None:
            yield (folder / name).resolve(), committed


def _notes(library: Library) -> Iterator[str]:
    for name, file in library.roles.items():
        if not is_shipped(file):
            yield f"{file.path}: note: replaces the shipped role {name} in every dialogue"
