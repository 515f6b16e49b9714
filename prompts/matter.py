"""Front matter: what the YAML at the top of a prompt file may hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from psyllm.records import SAFETY_PROTOCOL

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


@dataclass(frozen=True)
class Clinical:
    """What clinical/ knows by name. As validation context it is looked up; without it only an id's form counts."""

    ids: frozenset[str]
    """Disorders, criteria, factors, and risk domains with a level."""
    technique_classes: frozenset[str]


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """'; did you mean X?' for the nearest of what is known, '' if nothing is near."""
    near = get_close_matches(value, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _known_id(name: str, info: ValidationInfo) -> str:
    if isinstance(info.context, Clinical) and name not in info.context.ids:
        raise ValueError(f"nothing clinical is called so{did_you_mean(name, info.context.ids)}")
    return name


def _known_class(name: str, info: ValidationInfo) -> str:
    if isinstance(info.context, Clinical) and name not in info.context.technique_classes:
        raise ValueError(f"no technique class is called so{did_you_mean(name, info.context.technique_classes)}")
    return name


ClinicalId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[A-Z][A-Za-z0-9_]*|:[1-9])?$"),
    AfterValidator(_known_id),
]
"""A disorder (mdd), a criterion (mdd.A1), a factor (loneliness), or a risk domain at or above a level (suicide:4)."""


class _Matter(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RoleMatter(_Matter):
    """Front matter of a role prompt."""

    id: Slug
    """The file's name without .md."""
    name: Annotated[str, StringConstraints(min_length=1)]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)*$")]
    """Raised with every change of the file, e.g. "1.2"."""
    summary: Annotated[str, StringConstraints(min_length=1)]


class Technique(_Matter):
    id: Slug
    """Any slug but safety_protocol, which is reserved."""
    klass: Annotated[Slug, AfterValidator(_known_class)] = Field(alias="class")
    """Class that a risk mode may lock, e.g. exposure or deep_interpretation."""
    line: str
    """What it is, in one line."""

    @field_validator("id")
    @classmethod
    def _free(cls, own: str) -> str:
        if own == SAFETY_PROTOCOL:
            raise ValueError("is reserved: every modality has it at raised risk")
        return own


class Marker(_Matter):
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
    line: str
    """What the critic looks for, in one line."""
    technique: Slug | None = None
    """The technique of the same file that it belongs to, if to one alone."""


class Phase(_Matter):
    id: Slug
    line: str
    """What this stretch of the work is for, in one line."""


class CriticMatter(RoleMatter):
    """Front matter of the critic: with the markers of every school."""

    fidelity: tuple[Marker, ...] = Field(min_length=1)
    anti: tuple[Marker, ...] = Field(min_length=1)


class ModalityMatter(RoleMatter):
    """Front matter of a modality."""

    techniques: tuple[Technique, ...] = Field(min_length=1)
    indications: tuple[ClinicalId, ...] = Field(min_length=1)
    contraindications: tuple[ClinicalId, ...] = ()
    phases: tuple[Phase, ...] = ()
    fidelity: tuple[Marker, ...] = Field(min_length=1)
    """What a reply of this school shows. In a library the critic's own, common to all schools, come first."""
    anti: tuple[Marker, ...] = ()
    """What it does not show; the common ones come first likewise."""
    sources: tuple[str, ...] = ()
