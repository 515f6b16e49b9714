"""Loads prompt files, checks them, renders their sections.

A prompt is Markdown with YAML front matter; each first-level heading of its body names a section:

    ---
    id: patient
    name: Patient simulator
    version: "1.0"
    summary: Speaks as the client.
    ---
    # System
    You are the person in <client>.

A role has System, Task and, where its turns can be sent back, Revise; the critic has a pair for each of its four
calls; a modality has Therapist and Critic.
Sections are Jinja2, sandboxed and strict: an unknown variable is an error. A user's folder overlays the
shipped one file by file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

import yaml
from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from psyllm.errors import UsageError
from psyllm.records import SAFETY_PROTOCOL, PromptRef

SHIPPED = Path(__file__).parent
_SLUG = r"^[a-z][a-z0-9_]*$"
_HEADING = re.compile(r"^# (.+?)\s*$", re.MULTILINE)
_ROLE_SECTIONS = {
    "planner": {"system": "modalities", "task": "candidates min_rounds max_rounds"},
    "patient": {"system": "", "task": "round rounds may_end", "revise": ""},
    "diagnostician": {"system": "risk_levels", "task": "round first last standing"},
    "therapist": {"system": "modality approach", "task": "round mode techniques", "revise": ""},
    "critic": {
        "client system": "",
        "client task": "round rounds",
        "source system": "",
        "source task": "round",
        "evidence system": "",
        "evidence task": "round items raised",
        "reply system": "modality approach",
        "reply task": "round mode",
    },
    "counsellor": {"system": ""},
}
_MODALITY_SECTIONS = {"therapist": "", "critic": ""}
"""Sections, and the variables each of them is rendered with."""
_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@lru_cache(maxsize=256)
def _template(text: str) -> Template:
    return _JINJA.from_string(text)


class RoleMatter(BaseModel):
    """Front matter of a role prompt."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(pattern=_SLUG)
    name: str
    version: str
    summary: str


class Technique(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(pattern=_SLUG)
    """Any slug but safety_protocol, which is reserved."""
    klass: str = Field(alias="class", pattern=_SLUG)
    """Class that a risk mode may lock, e.g. exposure or deep_interpretation."""
    line: str
    """What it is, in one line."""

    @field_validator("id")
    @classmethod
    def _free(cls, own: str) -> str:
        if own == SAFETY_PROTOCOL:
            raise ValueError(f"{SAFETY_PROTOCOL} is reserved: every modality has it at raised risk")
        return own


class Marker(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    line: str
    """What the critic looks for, in one line."""


class ModalityMatter(RoleMatter):
    """Front matter of a modality."""

    techniques: tuple[Technique, ...] = Field(min_length=1)
    indications: tuple[str, ...] = Field(min_length=1)
    contraindications: tuple[str, ...] = ()
    fidelity: tuple[Marker, ...] = Field(min_length=1)
    anti: tuple[Marker, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptFile:
    """One checked prompt file."""

    path: Path
    matter: RoleMatter
    sections: Mapping[str, str]
    """Section name in lower case -> template text."""
    sha256: str

    @property
    def ref(self) -> PromptRef:
        return PromptRef(id=self.matter.id, version=self.matter.version, sha256=self.sha256[:12])

    def render(self, section: str, **variables: object) -> str:
        """Render one section. Raises UsageError naming the file for an unknown variable or a template error."""
        try:
            return _template(self.sections[section]).render(variables).strip()
        except TemplateError as error:
            raise UsageError(
                f"{self.path}, section {section!r}: {error.message}",
                hint=f"known variables here: {', '.join(sorted(variables)) or 'none'}",
            ) from error


@dataclass(frozen=True)
class Modality(PromptFile):
    matter: ModalityMatter

    @cached_property
    def techniques(self) -> Mapping[str, Technique]:
        return {technique.id: technique for technique in self.matter.techniques}


class Library:
    """Every prompt of a run: the shipped folder, overlaid file by file by the user's own."""

    def __init__(self, overlay: Path | None = None) -> None:
        """Load and check every file. Raises UsageError for a missing overlay or a file with mistakes."""
        if overlay is not None and not ((overlay / "roles").is_dir() or (overlay / "modalities").is_dir()):
            raise UsageError(f"{overlay} is no folder of prompts", hint="make roles/ or modalities/ in it")
        self.roles: dict[str, PromptFile] = {}
        self.modalities: dict[str, Modality] = {}
        for folder in filter(None, (SHIPPED, overlay)):
            for path in sorted((folder / "roles").glob("*.md")):
                self.roles[path.stem] = PromptFile(*_read(path, RoleMatter, "roles"))
            for path in sorted((folder / "modalities").glob("*.md")):
                matter_path, matter, sections, sha256 = _read(path, ModalityMatter, "modalities")
                self.modalities[path.stem] = Modality(matter_path, matter, sections, sha256)

    def modality(self, name: str) -> Modality:
        """Raises UsageError naming the known ids."""
        if name not in self.modalities:
            raise UsageError(f"unknown modality {name!r}", hint=f"known: {', '.join(sorted(self.modalities))}")
        return self.modalities[name]

    def files(self) -> tuple[PromptFile, ...]:
        return (*self.roles.values(), *self.modalities.values())


_Matter = TypeVar("_Matter", bound=RoleMatter)


def stored_role(name: str, text: str) -> PromptFile:
    """A role from the text that a run keeps of it. Raises UsageError like a file."""
    return PromptFile(*_parsed(Path(f"{name}.md"), text.encode(), RoleMatter, "roles"))


def _read(path: Path, kind: type[_Matter], folder: str) -> tuple[Path, _Matter, dict[str, str], str]:
    return _parsed(path, path.read_bytes(), kind, folder)


def _parsed(path: Path, raw: bytes, kind: type[_Matter], folder: str) -> tuple[Path, _Matter, dict[str, str], str]:
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from error
    opening, _, rest = text.partition("---\n")
    head, fence, body = rest.partition("\n---\n")
    if opening.strip() or not fence:
        raise UsageError(f"{path}:1: no front matter", hint="start the file with '---', YAML, '---'")
    try:
        matter = kind.model_validate(yaml.safe_load(head))
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: front matter is not YAML: {error}", hint="mend it") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'front matter'}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{path}: {wrong}", hint="prompts/README.md says what front matter holds") from error
    if matter.id != path.stem:
        raise UsageError(f"{path}: id {matter.id!r} is not the file's name", hint=f"write id: {path.stem}")
    pieces = _HEADING.split(body)
    sections = {name.lower(): section.strip() for name, section in zip(pieces[1::2], pieces[2::2], strict=True)}
    if folder == "roles" and path.stem not in _ROLE_SECTIONS:
        raise UsageError(f"{path}: there is no role {path.stem!r}", hint=f"roles: {', '.join(_ROLE_SECTIONS)}")
    wanted = _ROLE_SECTIONS[path.stem] if folder == "roles" else _MODALITY_SECTIONS
    if missing := wanted.keys() - sections.keys():
        raise UsageError(f"{path}: section {', '.join(sorted(missing))} is missing", hint="add '# Name' headings")
    if unknown := sections.keys() - wanted.keys():
        raise UsageError(
            f"{path}: unknown section {', '.join(sorted(unknown))}", hint=f"known: {', '.join(sorted(wanted))}"
        )
    for name, section in sections.items():
        _check_template(f"{path}, section {name!r}", section, set(wanted[name].split()))
    return path, matter, sections, hashlib.sha256(raw).hexdigest()


def _check_template(place: str, section: str, known: set[str]) -> None:
    try:
        unknown = meta.find_undeclared_variables(_JINJA.parse(section)) - known
    except TemplateSyntaxError as error:
        raise UsageError(f"{place}, its line {error.lineno}: {error.message}", hint="mend the template") from error
    if unknown:
        raise UsageError(
            f"{place}: unknown variable {', '.join(sorted(unknown))}",
            hint=f"known variables here: {', '.join(sorted(known)) or 'none'}",
        )
