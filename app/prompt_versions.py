"""Versions of a prompt file, wherever they are kept: the folders, the runs, and git's history.

cbt            as it stands, in your own folder or shipped
cbt@1.0        the newest text of that version
cbt#95b2b01a   the text with that hash, as rows of a run name it
HEAD~2:cbt     as git had it
old/cbt.md     a file
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.git import git
from prompts.files import SECTIONS, Kind, parse
from prompts.library import FOLDERS, SHIPPED
from prompts.matter import did_you_mean
from psyllm.errors import UsageError
from psyllm.runs import Run


@dataclass(frozen=True)
class Version:
    """One text of one prompt. It need not be a prompt by today's rules."""

    id: str
    text: str
    origin: str
    """Where it was found, for the screen."""

    @property
    def kind(self) -> Kind:
        return "role" if self.id in SECTIONS else "modality"

    @property
    def number(self) -> str:
        found = re.search(r"^version: *[\"']?([^\"'\n]*)", self.text, re.MULTILINE)
        return found[1].strip() if found else "?"

    @property
    def sha256(self) -> str:
        """First 12 hex digits, as in a row's provenance."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def check(self) -> None:
        """Raises UsageError with every mistake of the text by today's rules."""
        _, mistakes = parse(Path(self.origin) / f"{self.id}.md", self.text.encode(), self.kind)
        if mistakes:
            raise UsageError("\n".join(map(str, mistakes)), hint="a version must fit today's rules to be run")

    def __str__(self) -> str:
        return f"{self.id}@{self.number}#{self.sha256}"


def resolve(spec: str, overlay: Path | None, runs: Iterable[Path] = ()) -> Version:
    """The version that is meant. Raises UsageError naming those that there are."""
    if Path(spec).is_file():
        return _of_file(Path(spec))
    if ":" in spec:
        revision, _, name = spec.rpartition(":")
        return _of_git(revision, name, overlay)
    name, mark, wanted = re.fullmatch(r"([^@#]*)([@#]?)(.*)", spec, re.DOTALL).groups()  # type: ignore[union-attr]
    _known(name, overlay)
    seen: dict[str, Version] = {}
    for version in _everywhere(name, overlay, runs):
        if not mark or (
            version.number == wanted if mark == "@" else bool(wanted) and version.sha256.startswith(wanted)
        ):
            return version
        seen.setdefault(str(version), version)
    known = "; ".join(f"{label} ({version.origin})" for label, version in seen.items())
    raise UsageError(f"no text of {name} is {spec!r}", hint=f"there are: {known}" if known else "psyllm prompt ls")


def _known(name: str, overlay: Path | None) -> None:
    ids = {path.stem for place in _places(overlay) for path in place.glob("*.md")}
    if name not in ids:
        raise UsageError(
            f"no prompt is called {name!r}{did_you_mean(name, ids)}", hint=f"known: {', '.join(sorted(ids))}"
        )


def _places(overlay: Path | None) -> list[Path]:
    """Where prompt files lie, the user's own first."""
    return [folder / name for folder in (overlay, SHIPPED) if folder for name in FOLDERS.values()]


def _everywhere(name: str, overlay: Path | None, runs: Iterable[Path]) -> Iterator[Version]:
    files = [place / f"{name}.md" for place in _places(overlay)]
    for path in files:
        if path.is_file():
            yield Version(name, _text(path), "shipped" if path.is_relative_to(SHIPPED) else str(path))
    for folder in runs:
        with Run(folder) as run:
            yield Version(name, run.prompt(name)[1], str(folder))
    for path in files:
        if not path.parent.is_dir():
            continue
        for commit in (git(path.parent, "log", "--format=%h", "--", path.name) or b"").decode().split():
            if (raw := git(path.parent, "show", f"{commit}:./{path.name}")) is not None:
                yield Version(name, raw.decode("utf-8", "replace"), f"git {commit}")


def _of_file(path: Path) -> Version:
    text = _text(path)
    found = re.search(r"^id: *(\S+)", text, re.MULTILINE)
    return Version(found[1] if found else path.stem, text, str(path))


def _of_git(revision: str, name: str, overlay: Path | None) -> Version:
    _known(name, overlay)
    for place in _places(overlay):
        if place.is_dir() and (raw := git(place, "show", f"{revision}:./{name}.md")) is not None:
            return Version(name, raw.decode("utf-8", "replace"), f"git {revision}")
    raise UsageError(f"git has no {name}.md at {revision!r}", hint="git log -- FILE lists its revisions")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="save it as UTF-8") from error
