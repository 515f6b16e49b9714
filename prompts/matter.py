"""Front matter: what the YAML at the top of a prompt file may hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from psyllm.records import SAFETY_PROTOCOL

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
ClinicalId = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[A-Z][A-Za-z0-9_]*|:[1-9])?$"), Field(title="clinical id")
]
"""A disorder (mdd), a criterion (mdd.A1), a factor (loneliness), or a risk domain at or above a level (suicide:4).
Whether it exists is known to clinical/ and checked by `psyllm prompt lint`."""


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
    klass: Slug = Field(alias="class")
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
