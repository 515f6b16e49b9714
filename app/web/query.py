"""Which dialogues a page is about, as its address says it: /dialogues?status=rejected&role=therapist&q=eggs"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from app.trace_find import filter_of
from psyllm.errors import UsageError
from psyllm.labels import Label
from psyllm.runs.find import Filter

FIELDS = ("q", "status", "reason", "modality", "severity", "role", "model", "prompt", "since", "label")
"""The parts of a filter, as `trace ls` calls them; q is its --grep, label what a person said last."""
LABELS = ("accept", "reject", "flag", "revise", "none")


@dataclass(frozen=True)
class Query:
    """A filter, and how an address says it."""

    given: Mapping[str, str]
    """The parts that are not empty."""
    wanted: Filter
    label: str

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Query:
        """Raises UsageError for a status, reason, role, time or label that does not exist."""
        given = {name: value for name in FIELDS if (value := parameters.get(name, "").strip())}
        label = given.get("label", "")
        if label and label not in LABELS:
            raise UsageError(f"label {label!r} does not exist", hint=f"known: {', '.join(LABELS)}")
        names = {"q": "words"}
        parts = {names.get(name, name): value for name, value in given.items() if name != "label"}
        return cls(given, filter_of(**parts), label)

    def url(self, path: str, **changes: str | int) -> str:
        """An address with this filter; an empty value takes a part out."""
        parts = {name: value for name, value in {**self.given, **changes}.items() if value != ""}
        return f"{path}?{urlencode(parts)}" if parts else path

    def has(self, label: Label | None) -> bool:
        """Whether what a person said last fits."""
        return not self.label or self.label == (label.verdict if label else "none")
