"""Every prompt of a run: the shipped folder, overlaid file by file by the user's own.

    library = Library(Path("my-prompts"))
    library.check()                       # raises, with every mistake of every file
    library.modality("cbt").render("therapist")

A file with mistakes hinders only those who ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from prompts.files import SECTIONS, Kind, Mistake, Modality, PromptFile, parse, read
from prompts.matter import Clinical, CriticMatter, did_you_mean
from psyllm.errors import UsageError

__all__ = ["SHIPPED", "KnownMarker", "Library", "Modality", "PromptFile", "stored_role"]

SHIPPED = Path(__file__).parent
FOLDERS: dict[Kind, str] = {"role": "roles", "modality": "modalities"}
README = "prompts/README.md says what a prompt file holds; `psyllm prompt lint` checks them all"
_File = TypeVar("_File", bound=PromptFile)


@dataclass(frozen=True)
class KnownMarker:
    """A marker of the library, and whose it is."""

    id: str
    line: str
    school: str
    """The modality's id; '' for those of every school."""
    anti: bool
    """Whether a reply should not show it."""

    @property
    def title(self) -> str:
        """F0b one main question or step; X0c (fault) empty reassurance."""
        return f"{self.id}{' (fault)' * self.anti} {self.line}"

    def counts_in(self, school: str) -> bool:
        """Whether it is counted on the replies of a school; on those of no known one ('') all are."""
        return not self.school or school in ("", self.school)


class Shelf(dict[str, _File]):
    """Files by id. Asking for one that has mistakes, or for one that is not there, raises UsageError."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self._kind = kind
        self.broken: dict[str, list[Mistake]] = {}

    def forget(self, name: str) -> None:
        self.pop(name, None)
        self.broken.pop(name, None)

    def __missing__(self, name: str) -> _File:
        if name in self.broken:
            raise UsageError("\n".join(map(str, self.broken[name])), hint=README)
        raise UsageError(
            f"unknown {self._kind} {name!r}{did_you_mean(name, self)}", hint=f"known: {', '.join(sorted(self))}"
        )


class Library:
    """The files without mistakes, and the mistakes of the others."""

    def __init__(self, overlay: Path | None = None, clinical: Clinical | None = None) -> None:
        """Read every file; clinical ids are looked up where `clinical` is given.

        Raises UsageError for an overlay that is no folder of prompts.
        """
        if overlay is not None and not any((overlay / folder).is_dir() for folder in FOLDERS.values()):
            raise UsageError(f"{overlay} is no folder of prompts", hint="make roles/ or modalities/ in it")
        self.overlay = overlay
        self.roles: Shelf[PromptFile] = Shelf("role")
        self.modalities: Shelf[Modality] = Shelf("modality")
        self._strays: list[Mistake] = []
        for folder in filter(None, (SHIPPED, overlay)):
            self._read(folder, clinical)
        self._share_markers()

    @property
    def mistakes(self) -> list[Mistake]:
        """Of all files, by file and line."""
        broken = (*self.roles.broken.values(), *self.modalities.broken.values())
        return sorted((*self._strays, *(mistake for found in broken for mistake in found)))

    def check(self) -> None:
        """Raises UsageError with every mistake, if there is any."""
        if mistakes := self.mistakes:
            raise UsageError("\n".join(map(str, mistakes)), hint=README)

    def modality(self, name: str) -> Modality:
        """Raises UsageError naming the known ids, or what is wrong with the file."""
        return self.modalities[name]

    def find(self, name: str) -> PromptFile:
        """A role or a modality. Raises UsageError naming the known ids, or what is wrong with the file."""
        if name in self.roles or name in self.roles.broken:
            return self.roles[name]
        if name in self.modalities or name in self.modalities.broken:
            return self.modalities[name]
        known = sorted((*self.roles, *self.modalities))
        raise UsageError(f"no prompt is called {name!r}{did_you_mean(name, known)}", hint=f"known: {', '.join(known)}")

    def files(self) -> tuple[PromptFile, ...]:
        return (*self.roles.values(), *self.modalities.values())

    @property
    def markers(self) -> dict[str, KnownMarker]:
        """Every marker by id: the critic's own, then those of each modality."""
        found: dict[str, KnownMarker] = {}
        critic = self.roles.get("critic")
        owners = [("", critic.matter)] if critic else []
        for school, matter in [*owners, *((name, file.matter) for name, file in self.modalities.items())]:
            both = cast(CriticMatter, matter)
            for anti, markers in ((False, both.fidelity), (True, both.anti)):
                for marker in markers:
                    found.setdefault(marker.id, KnownMarker(marker.id, marker.line, school, anti))
        return found

    def _read(self, folder: Path, clinical: Clinical | None) -> None:
        for kind, name in FOLDERS.items():
            shelf = cast(Shelf[PromptFile], self.roles if kind == "role" else self.modalities)
            for path in sorted((folder / name).glob("*.md")):
                shelf.forget(path.stem)
                misplaced = _misplaced(path, kind)
                file, mistakes = (None, [misplaced]) if misplaced else read(path, kind, clinical)
                if file is not None:
                    shelf[path.stem] = file
                else:
                    shelf.broken[path.stem] = mistakes
        for path in sorted(folder.iterdir()):
            if path.suffix == ".md" and path.name != "README.md":
                text = f"{path.name}: nobody reads it here; move it into roles/ or modalities/"
                self._strays.append(Mistake(path, 1, text))
            elif (
                path.is_dir()
                and path.name not in FOLDERS.values()
                and (near := did_you_mean(path.name, FOLDERS.values()))
            ):
                self._strays.append(Mistake(path, 1, f"{path.name}: nobody reads this folder{near}"))

    def _share_markers(self) -> None:
        """Every modality's markers begin with the critic's; an id means one thing in all schools."""
        critic = self.roles.get("critic")
        if critic is None:
            return
        common = cast(CriticMatter, critic.matter)
        owners = {marker.id: "critic" for marker in (*common.fidelity, *common.anti)}
        for name, modality in list(self.modalities.items()):
            matter = modality.matter
            own = [marker.id for marker in (*matter.fidelity, *matter.anti)]
            if taken := [marker for marker in own if marker in owners]:
                del self.modalities[name]
                self.modalities.broken[name] = [_taken(modality, marker, owners[marker]) for marker in taken]
                continue
            owners |= dict.fromkeys(own, name)
            shared = {"fidelity": (*common.fidelity, *matter.fidelity), "anti": (*common.anti, *matter.anti)}
            self.modalities[name] = replace(modality, matter=matter.model_copy(update=shared))


def stored_role(name: str, text: str) -> PromptFile:
    """A role from the text that a run keeps of it. Raises UsageError like a file."""
    file, mistakes = parse(Path(f"{name}.md"), text.encode(), "role")
    if file is None:
        raise UsageError("\n".join(map(str, mistakes)), hint="was the run made by this psyllm?")
    return file


def _taken(modality: Modality, marker: str, owner: str) -> Mistake:
    return Mistake(
        modality.path, modality.line_of(f"id: {marker}"), f"{marker}: this marker is {owner}'s; take another id"
    )


def _misplaced(path: Path, kind: Kind) -> Mistake | None:
    name = path.stem
    if kind == "role" and name not in SECTIONS:
        near = did_you_mean(name, SECTIONS) or "; a modality belongs into modalities/"
        return Mistake(path, 1, f"{name}: there is no such role{near}")
    if kind == "modality" and name in SECTIONS:
        return Mistake(
            path, 1, f"{name}: this is a role's name; a role belongs into roles/, a modality needs another name"
        )
    return None
