"""The table that the agents sit around: who answers a call, the prompts, the clinical knowledge, the rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import BaseModel

from clinical import Knowledge
from prompts.library import Library
from prompts.matter import Clinical
from psyllm.messages import Prompt, Step
from psyllm.records import Role
from psyllm.settings import Rules

Answered = TypeVar("Answered", bound=BaseModel)


class Asker(Protocol):
    """Whoever answers a role's calls: the journal, a model behind it, a person at the desk."""

    async def ask(self, step: Step, prompt: Prompt, schema: type[Answered]) -> tuple[Answered, str]:
        """The parsed answer, and the model's own reasoning ('' if it gave none).

        Raises Failure('endpoint'), Failure('schema') after two corrections, Failure('budget') or Failure('stopped').
        """
        ...

    def rehearsed(self, dialogue_id: str) -> bool:
        """Whether the rehearsal backend gave any answer of this dialogue."""
        ...

    def native(self, role: Role) -> bool:
        """Whether this role's reasoning is taken from the model's reasoning channel."""
        ...


@dataclass(frozen=True)
class Cast:
    asker: Asker
    library: Library
    knowledge: Knowledge
    rules: Rules
    """Bounds of a dialogue: rounds, modalities, revisions, seed."""
    rehearsal: bool
    models: dict[str, str]
    """Role -> model name, for the provenance."""


def clinical_names(knowledge: Knowledge) -> Clinical:
    """What the front matter of a modality may name."""
    ladders = knowledge.risk_table.domains.items()
    risks = (f"{domain}:{rung.level}" for domain, ladder in ladders for rung in ladder.levels)
    ids = frozenset((*knowledge.disorders, *knowledge.criterion_ids, *knowledge.factors, *risks))
    return Clinical(ids, frozenset(knowledge.risk_table.technique_classes))


def checked_library(overlay: Path | None) -> Library:
    """Every prompt, with a user's folder laid over. Raises UsageError with all mistakes, unknown clinical ids too."""
    library = Library(overlay, clinical_names(Knowledge.load()))
    library.check()
    return library
