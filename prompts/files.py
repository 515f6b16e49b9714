"""One prompt file, read and checked: all its mistakes in one pass, each with line, value and the likely fix.

    read(Path("prompts/roles/patient.md"), "role")

A prompt is Markdown with YAML front matter; each first-level heading of its body names a section:

    ---
    id: patient
    name: Patient simulator
    version: "1.0"
    summary: Speaks as the client.
    ---
    # System
    You are the person in <client>.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from prompts import templates
from prompts.matter import Clinical, CriticMatter, ModalityMatter, RoleMatter, Technique, did_you_mean
from psyllm.errors import UsageError
from psyllm.messages import CHARACTERS_PER_TOKEN
from psyllm.records import PromptRef
from psyllm.yaml_nodes import child, composed, scalars

Kind = Literal["role", "modality"]
Matter = TypeVar("Matter", bound=RoleMatter)
_HEADING = re.compile(r"^# (.+?)[ \t]*$", re.MULTILINE)
_SAMPLE = {
    "modality": ModalityMatter.model_validate(
        {
            "id": "sample",
            "name": "Sample",
            "version": "1",
            "summary": "s",
            "techniques": [{"id": "t", "class": "c", "line": "l"}],
            "indications": ["mdd"],
            "phases": [{"id": "p", "line": "l"}],
            "fidelity": [{"id": "M1", "line": "l"}],
            "anti": [{"id": "X1", "line": "l"}],
        }
    ),
    "approach": "a",
}
SECTIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "planner": {
        "system": {"modalities": "- cbt: ..."},
        "task": {"candidates": ("cbt", "act"), "min_rounds": 2, "max_rounds": 4},
    },
    "patient": {"system": {}, "task": {"round": 1, "rounds": 2, "may_end": False, "length": "one line"}, "revise": {}},
    "diagnostician": {
        "system": {"risk_levels": "..."},
        "task": {"round": 2, "first": 3, "last": 4, "standing": ("mdd.A1 asserts s1",)},
    },
    "therapist": {
        "system": _SAMPLE,
        "task": {
            "round": 1,
            "mode": "ordinary",
            "techniques": ("t",),
            "most_words": 220,
            "longest_sentence": 0,
        },
        "revise": {},
    },
    "critic": {
        "client system": {},
        "client task": {"round": 1, "rounds": 2},
        "source system": {},
        "source task": {"round": 2},
        "evidence system": {},
        "evidence task": {"round": 1, "items": 1, "raised": True},
        "reply system": _SAMPLE,
        "reply task": {"round": 1, "mode": "ordinary"},
    },
    "counsellor": {"system": {}},
}
"""Role -> its sections -> the variables each is rendered with, and a sample of each to try the template on."""
MODALITY_SECTIONS: Mapping[str, Mapping[str, Any]] = {"planner": {}, "therapist": {}, "critic": {}}
BUDGET: Mapping[Kind, int] = {"role": 5000, "modality": 3000}
"""Most tokens of a file. The longest call, the critic's, carries a role, a modality, up to eight rounds of talk (about
9,000 tokens) and the case, and should leave half of a context of 32,768 free; and every turn pays for every word."""
_MEANT = {
    "id": "lower-case letters, digits and _ (a marker: letters and digits)",
    "class": "lower-case letters, digits and _",
    "technique": "the id of a technique of this file",
    "version": 'numbers with points, in quotes, e.g. "1.1"',
    "indications": "a disorder (mdd), a criterion (mdd.A1), a factor (loneliness) or a risk with its level (suicide:4)",
}
_MEANT["contraindications"] = _MEANT["indications"]


@dataclass(frozen=True, order=True)
class Mistake:
    """One thing that is wrong in a prompt file."""

    path: Path
    line: int
    """1-based."""
    text: str
    """The value, what is wrong with it, and the likely fix."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class PromptFile:
    """One prompt file without mistakes."""

    path: Path
    matter: RoleMatter
    sections: Mapping[str, str]
    """Section name in lower case -> template text."""
    lines: Mapping[str, int]
    """Section name -> the file's line on which its text starts."""
    sha256: str
    """Of the text."""
    text: str
    """The whole file, with plain line ends."""
    kind: ClassVar[Kind] = "role"

    @property
    def ref(self) -> PromptRef:
        return PromptRef(id=self.matter.id, version=self.matter.version, sha256=self.sha256[:12])

    @property
    def tokens(self) -> int:
        """Estimated as calls are, at three characters a token."""
        return len(self.text) // CHARACTERS_PER_TOKEN

    def line_of(self, words: str, after: str = "") -> int:
        """The line on which these words first stand, after others; 1 if they do not."""
        found = re.search(rf"{re.escape(after)}.*?(?<!\w)({re.escape(words)})(?!\w)", self.text, re.DOTALL)
        return self.text.count("\n", 0, found.start(1)) + 1 if found else 1

    def render(self, section: str, **variables: object) -> str:
        """Render one section. Raises UsageError naming file and line of a template that fails."""
        try:
            return templates.render(self.sections[section], variables)
        except templates.TemplateFault as fault:
            raise UsageError(
                f"{self.path}:{self.lines[section] + fault.line - 1}: {fault}",
                hint=f"known variables here: {', '.join(sorted(variables)) or 'none'}",
            ) from fault


@dataclass(frozen=True)
class Modality(PromptFile):
    matter: ModalityMatter
    kind: ClassVar[Kind] = "modality"

    @cached_property
    def techniques(self) -> Mapping[str, Technique]:
        return {technique.id: technique for technique in self.matter.techniques}


def read(path: Path, kind: Kind, clinical: Clinical | None = None) -> tuple[PromptFile | None, list[Mistake]]:
    """The file, or None and all that is wrong with it; clinical ids are looked up where `clinical` is given."""
    try:
        return parse(path, path.read_bytes(), kind, clinical)
    except OSError as error:
        return None, [Mistake(path, 1, f"cannot be read: {error.strerror}")]


def parse(
    path: Path, raw: bytes, kind: Kind, clinical: Clinical | None = None
) -> tuple[PromptFile | None, list[Mistake]]:
    """As `read`, for bytes that need not lie under that path any more."""
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return None, [Mistake(path, line, f"byte {raw[error.start]:#04x}: not UTF-8; save the file as UTF-8")]
    if not text.startswith("---\n"):
        return None, [Mistake(path, 1, "no front matter; start the file with '---', YAML, '---'")]
    head, fence, body = text.removeprefix("---\n").partition("\n---\n")
    if not fence:
        return None, [Mistake(path, text.count("\n") + 1, "front matter never ends; close it with a line '---'")]
    matter, mistakes = front_matter(path, head, _shape(path, kind), clinical)
    wanted = MODALITY_SECTIONS if kind == "modality" else SECTIONS.get(path.stem, {})
    sections, lines, more = _sections(path, body, head.count("\n") + 4, wanted)
    mistakes += more
    if len(text) // CHARACTERS_PER_TOKEN > BUDGET[kind]:
        over = f"about {len(text) // CHARACTERS_PER_TOKEN} tokens, more than the {BUDGET[kind]} of a {kind}; shorten it"
        mistakes.append(Mistake(path, 1, over))
    if matter is None or mistakes:
        return None, sorted(mistakes)
    made = Modality if kind == "modality" else PromptFile
    return made(path, matter, sections, lines, hashlib.sha256(text.encode()).hexdigest(), text), []  # type: ignore[arg-type]


def _shape(path: Path, kind: Kind) -> type[RoleMatter]:
    return ModalityMatter if kind == "modality" else CriticMatter if path.stem == "critic" else RoleMatter


# ---------------------------------------------------------------- front matter


def front_matter(
    path: Path, head: str, shape: type[Matter], clinical: Clinical | None = None
) -> tuple[Matter | None, list[Mistake]]:
    """The YAML between the two fences as a record, and all that is wrong with it."""
    tabs = [n for n, line in enumerate(head.split("\n"), 2) if "\t" in line[: len(line) - len(line.lstrip())]]
    if tabs:
        return None, [Mistake(path, n, "a tab; YAML is indented with spaces") for n in tabs]
    try:
        node, value = composed(head)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        return None, [Mistake(path, mark.line + 2 if mark else 2, f"front matter is not YAML: {problem}")]
    mistakes = [Mistake(path, line, f"{key}: stands twice") for key, line in _repeated_keys(node)]
    try:
        matter = shape.model_validate(value, context=clinical)
    except ValidationError as error:
        found = error.errors()
        inner = {e["loc"][:-1] for e in found}
        told = [e for e in found if not (e["type"] == "too_short" and e["loc"] in inner)]
        return None, mistakes + [Mistake(path, _line(node, e["loc"]), _told(e, shape)) for e in told]
    if matter.id != path.stem:
        mistakes.append(
            Mistake(path, _line(node, ("id",)), f"{matter.id}: is not the file's name; write id: {path.stem}")
        )
    mistakes += [Mistake(path, _line_of_value(node, value), text) for value, text in _contradictions(matter)]
    return matter, mistakes


def _contradictions(matter: RoleMatter) -> Iterator[tuple[str, str]]:
    """(the value to point at, what is wrong) where fields do not fit each other."""
    if isinstance(matter, (ModalityMatter, CriticMatter)):
        markers = (*matter.fidelity, *matter.anti)
        for name in _twice(marker.id for marker in markers):
            yield name, f"{name}: two markers have this id"
    if isinstance(matter, ModalityMatter):
        techniques = [technique.id for technique in matter.techniques]
        for name in _twice(techniques):
            yield name, f"{name}: two techniques have this id"
        for name in _twice(phase.id for phase in matter.phases):
            yield name, f"{name}: two phases have this id"
        for marker in markers:
            if marker.technique and marker.technique not in techniques:
                yield (
                    marker.technique,
                    f"{marker.technique}: marker {marker.id} names no technique of this file"
                    + did_you_mean(marker.technique, techniques),
                )
        for field in ("indications", "contraindications"):
            for name in _twice(getattr(matter, field)):
                yield name, f"{name}: stands twice in {field}"
        if all(_ruled_out(name, matter.contraindications) for name in matter.indications):
            yield "contraindications", "contraindications: they rule out every indication; this modality would never do"


def _ruled_out(name: str, against: Iterable[str]) -> bool:
    """Whether whatever this id speaks of is ruled out: mdd.A1 by mdd, suicide:4 by suicide:3."""
    domain, _, level = name.partition(":")
    for other in against:
        other_domain, _, least = other.partition(":")
        if (
            other == name
            or name.startswith(f"{other}.")
            or (level and least and domain == other_domain and level >= least)
        ):
            return True
    return False


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _repeated_keys(node: Any) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.value, key.start_mark.line + 2
            seen.add(key.value)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)


def _line(node: Any, place: Iterable[str | int]) -> int:
    """The file's line of a place in the front matter, or of what is there of the way to it."""
    mark = node.start_mark if node is not None else None
    for step in place:
        key, node = child(node, step)
        if (named := key or node) is not None:
            mark = named.start_mark
    return mark.line + 2 if mark is not None else 2


def _line_of_value(node: Any, value: str) -> int:
    """The file's line of the last scalar that is this value."""
    found = [scalar.start_mark.line + 2 for scalar in scalars(node, keys=True) if scalar.value == value]
    return found[-1] if found else 2


def _told(error: ErrorDetails, shape: type[BaseModel]) -> str:
    """One validation error for somebody who edits the file."""
    place = [str(step) for step in error["loc"] if isinstance(step, str)]
    name = place[-1] if place else "front matter"
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown key" + did_you_mean(name, _keys(shape, place[:-1]))
    if error["type"] == "missing":
        return f"{name}: is missing"
    value = error["input"] if isinstance(error["input"], (str, int, float)) else name
    if error["type"] in ("string_pattern_mismatch", "string_type") and name in _MEANT:
        return f"{value}: is no {name.removesuffix('s')}; write {_MEANT[name]}"
    return f"{value}: {error['msg'].removeprefix('Value error, ').replace('Input should', 'should')}"


def _keys(shape: Any, place: list[str]) -> list[str]:
    """The keys that the model at this place knows, as they are written."""
    for step in place:
        annotation = shape.model_fields[step].annotation
        shape = next((part for part in get_args(annotation) if isinstance(part, type)), annotation)
    return [field.alias or name for name, field in shape.model_fields.items()]


# ---------------------------------------------------------------- sections


def _sections(
    path: Path, body: str, first: int, wanted: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, str], dict[str, int], list[Mistake]]:
    """Name -> text, name -> first line, and what is wrong; `first` is the file's line on which the body starts."""
    headings = list(_HEADING.finditer(body))
    mistakes: list[Mistake] = []
    guessed: set[str] = set()
    sections: dict[str, str] = {}
    lines: dict[str, int] = {}
    if stray := body[: headings[0].start() if headings else len(body)].strip():
        mistakes.append(Mistake(path, first, f"{stray[:40]!r}: stands before the first heading"))
    for heading, after in zip(headings, [*headings[1:], None], strict=True):
        name = heading[1].lower()
        line = first + body.count("\n", 0, heading.start())
        text = body[heading.end() : after.start() if after else len(body)]
        if name in sections:
            mistakes.append(Mistake(path, line, f"{heading[1]}: this section stands twice"))
        elif name not in wanted:
            guessed.add(near := did_you_mean(name, wanted))
            mistakes.append(Mistake(path, line, f"{heading[1]}: unknown section{near}"))
        elif not text.strip():
            mistakes.append(Mistake(path, line, f"{heading[1]}: this section is empty"))
        sections[name] = text.strip()
        lines[name] = line + text[: len(text) - len(text.lstrip())].count("\n")
    end = first + body.rstrip().count("\n")
    missing = [name for name in wanted if name not in sections and f"; did you mean {name}?" not in guessed]
    mistakes += [Mistake(path, end, f"{name.capitalize()}: this section is missing") for name in missing]
    for name, variables in wanted.items():
        mistakes += _template_mistakes(path, lines.get(name, 1), sections.get(name, ""), variables)
    return sections, lines, mistakes


def _template_mistakes(path: Path, first: int, text: str, variables: Mapping[str, Any]) -> list[Mistake]:
    found = list(templates.faults(text, variables))
    if not found:
        try:
            templates.render(text, variables)
        except templates.TemplateFault as fault:
            found = [fault]
    known = ", ".join(variables) or "none"
    return [
        Mistake(
            path,
            first + fault.line - 1,
            f"{fault}{did_you_mean(fault.value, variables) or f'; known here: {known}'}"
            if fault.message == "unknown variable"
            else str(fault),
        )
        for fault in found
    ]
