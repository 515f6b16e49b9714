"""`psyllm prompt ls` and `psyllm prompt new`."""

from __future__ import annotations

import re
from pathlib import Path

from rich.table import Table
from rich.text import Text

from app.screen import console, out
from prompts.files import SECTIONS, Modality, PromptFile
from prompts.library import FOLDERS, SHIPPED, Library
from psyllm.errors import UsageError
from psyllm.settings import load_settings


def overlay_of(prompts: Path | None, settings_file: Path | None) -> Path | None:
    """The user's own folder: --prompts, or `prompts` of psyllm.toml."""
    return prompts or load_settings(settings_file).prompts


def is_shipped(file: PromptFile) -> bool:
    return file.path.is_relative_to(SHIPPED)


def ls_command(prompts: Path | None, settings_file: Path | None) -> None:
    """Print one line a file; files with mistakes are named below."""
    library = Library(overlay_of(prompts, settings_file))
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    for heading in ("id", "kind", "version", "hash", "tokens", "from"):
        table.add_column(heading, justify="right" if heading == "tokens" else "left", no_wrap=True)
    table.add_column("what it is", no_wrap=True, ratio=1)
    for file in library.files():
        ref = file.ref
        replaces = (SHIPPED / FOLDERS[file.kind] / file.path.name).exists()
        source = (
            Text("shipped", style="dim")
            if is_shipped(file)
            else Text("yours, replaces shipped" if replaces else "yours", style="yellow")
        )
        table.add_row(ref.id, file.kind, ref.version, ref.sha256, str(file.tokens), source, Text(file.matter.summary))
    out.print(table)
    if library.mistakes:
        names = ", ".join(dict.fromkeys(str(mistake.path) for mistake in library.mistakes))
        console.print(f"with mistakes, see `psyllm prompt lint`: {names}", style="red", soft_wrap=True)


def new_command(name: str, source: str, prompts: Path | None, settings_file: Path | None) -> None:
    """Write DIR/modalities/NAME.md. Raises UsageError without a folder, for a bad id, and if the file exists."""
    folder = overlay_of(prompts, settings_file)
    if folder is None:
        raise UsageError("which folder of your own?", hint="--prompts DIR, or `prompts` in psyllm.toml")
    if folder.resolve() == SHIPPED:
        raise UsageError(f"{folder} is the shipped folder", hint="give a folder of your own")
    library = Library(folder if folder.is_dir() and any(folder.iterdir()) else None)
    file = library.find(source)
    text = _edited(file) if name == source else _derived(file, name, library)
    path = folder / FOLDERS[file.kind] / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists", hint="edit it, or take another id") from None
    console.print(f"{path} written, from {source} {file.matter.version}")
    console.print(f"next: edit it, then psyllm prompt lint --prompts {folder}", style="dim", soft_wrap=True)


def _edited(file: PromptFile) -> str:
    """The same file under the next version."""
    *major, last = file.matter.version.split(".")
    return _set(file.text, "version", '"' + ".".join([*major, str(int(last) + 1)]) + '"')


def _derived(file: PromptFile, name: str, library: Library) -> str:
    """A modality with an id, a name and marker ids of its own, as version 0.1."""
    if not isinstance(file, Modality):
        raise UsageError(
            f"{file.matter.id} is a role, and there are no other roles than {', '.join(SECTIONS)}",
            hint=f"to edit it: psyllm prompt new {file.matter.id} --from {file.matter.id}",
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        raise UsageError(f"{name!r} is no id", hint=f"lower-case letters, digits and _, e.g. {slug or 'my_school'}")
    if name in SECTIONS:
        raise UsageError(f"{name} is a role's name", hint="take another id")
    if name in library.modalities:
        raise UsageError(
            f"a modality is called {name} already", hint=f"psyllm prompt new {name} --from {name} edits it"
        )
    text = file.text
    for field, value in (("id", name), ("name", name.replace("_", " ").capitalize()), ("version", '"0.1"')):
        text = _set(text, field, value)
    critic = library.roles["critic"].text
    own = [m.id for m in (*file.matter.fidelity, *file.matter.anti) if f"id: {m.id}," not in critic]
    taken = {marker.id for each in library.modalities.values() for marker in (*each.matter.fidelity, *each.matter.anti)}
    prefix = "".join(word[0] for word in name.split("_")) if "_" in name else name
    renamed = {marker: re.sub(r"^.*?(?=x?\d+$)", prefix.upper(), marker) for marker in own}
    if taken & set(renamed.values()):
        renamed = {marker: re.sub(r"^.*?(?=x?\d+$)", name.replace("_", "").upper(), marker) for marker in own}
    return re.sub(r"\b[A-Za-z]+\d+\b", lambda match: renamed.get(match[0], match[0]), text)


def _set(text: str, field: str, value: str) -> str:
    return re.sub(rf"^{field}: .*$", f"{field}: {value}", text, count=1, flags=re.MULTILINE)
