"""What an export wrote and from what: the JSON beside every dataset, and what its card is written from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from textwrap import indent
from typing import Literal

from pydantic_core import to_jsonable_python

from corpus.candidates import Candidate
from corpus.tables import Written
from psyllm.records import Provenance

Counts = Counter[str]


@dataclass(frozen=True, slots=True)
class SourceRun:
    """One run that was exported."""

    run: str
    """Name of its folder; `psyllm trace show` takes the folder and a row's id."""
    software_version: str
    fingerprint: str
    """First 12 hex digits of the hash of what binds the run: rules, models, prompts, clinical data."""
    accepted: int
    counsellor: str
    """The system prompt of its rows: id@version#hash."""


@dataclass
class Manifest:
    format: str
    written: datetime
    seed: int
    crisis_contacts: Literal["literal", "filled"]
    unverified_contacts: tuple[str, ...]
    accepted: int
    """Accepted dialogues in the runs."""
    left_out: dict[str, int]
    """Reason code -> dialogues, most frequent first."""
    exported: int = 0
    """Dialogues written."""
    rehearsal: bool = False
    """Whether any row holds stand-in words of the rehearsal backend."""
    runs: list[SourceRun] = field(default_factory=list)
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    """Kind of row -> split -> rows."""
    files: list[Written] = field(default_factory=list)
    splits: dict[str, dict[str, Counts]] = field(default_factory=dict)
    """Split -> modality, severity, mode, risk_level -> value -> dialogues."""
    sources: Counts = field(default_factory=Counter)
    """'source | licence' -> dialogues."""
    models: dict[str, Counts] = field(default_factory=dict)
    """Role -> model -> dialogues."""
    prompts: Counts = field(default_factory=Counter)
    """id@version#hash -> dialogues made with it."""
    excluded: Iterable[dict[str, str]] = ()
    """Every dialogue left out: run, id, post_id, code, detail. Read once, when it is written."""

    def count(self, split: str, kept: Candidate, provenance: Provenance) -> None:
        """Add one dialogue that was written."""
        self.exported += 1
        self.rehearsal = self.rehearsal or provenance.rehearsal
        tables = self.splits.setdefault(split, {})
        for name in ("modality", "severity", "mode", "risk_level"):
            tables.setdefault(name, Counter())[str(getattr(kept, name))] += 1
        self.sources[f"{provenance.source} | {provenance.license}"] += 1
        for role, model in provenance.models.items():
            self.models.setdefault(role, Counter())[model] += 1
        self.prompts.update(f"{ref.id}@{ref.version}#{ref.sha256}" for ref in provenance.prompts)

    def table(self, name: str) -> Counts:
        """Dialogues by modality, severity, mode or risk_level, over all splits."""
        return sum((tables[name] for tables in self.splits.values()), Counts())

    def write(self, path: Path) -> None:
        """Entry by entry: there may be as many as dialogues."""
        whole = json.dumps(to_jsonable_python(replace(self, excluded=())), indent=1, ensure_ascii=False)
        with path.open("w", encoding="utf-8") as file:
            file.write(whole.removesuffix("]\n}"))
            comma = ""
            for entry in self.excluded:
                file.write(f"{comma}\n{indent(json.dumps(entry, indent=1, ensure_ascii=False), '  ')}")
                comma = ","
            file.write("\n ]\n}\n" if comma else "]\n}\n")
