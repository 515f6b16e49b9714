"""The embedding model that the command line or psyllm.toml names, for `intake` and `corpus stats`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.screen import console
from corpus.embeddings import Embedder
from psyllm.errors import UsageError
from psyllm.settings import Embeddings, load_settings

NONE = "none"
"""What --embeddings says where psyllm.toml names a model and none is wanted."""


@dataclass(frozen=True)
class EmbeddingOptions:
    """What the command line said."""

    model: str | None = None
    similar: float | None = None
    settings: Path | None = None

    def resolved(self) -> Embeddings:
        """With what psyllm.toml says. Raises UsageError for wrong settings, and a threshold that nothing uses."""
        own = load_settings(self.settings).embeddings
        model = own.model if self.model is None else "" if self.model == NONE else self.model
        if self.similar is not None and not model:
            raise UsageError("--similar is about meaning, and no model is named", hint="add --embeddings MODEL")
        return Embeddings(model=model, similar=own.similar if self.similar is None else self.similar)


def embedder(model: str) -> Embedder | None:
    """The model, loaded; None for no name. Raises UsageError if it cannot be."""
    if not model:
        return None
    with console.status("loading the embedding model"):
        return Embedder(model)
