"""Rows in files: JSON lines and Parquet, read and written one row at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from psyllm.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".jsonl", ".json", ".parquet")
MANIFEST = "manifest.json"
_BATCH = 500
"""Rows that a Parquet writer holds back."""
_SHARD = 20_000
"""Rows a Parquet file; then another one is begun."""


def row_files(path: Path) -> list[Path]:
    """The file itself, or all files of rows in a folder, by name. Raises UsageError if there is none."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.name != MANIFEST)
        if not files:
            raise UsageError(f"{path} holds no rows", hint=f"a dataset is made of {', '.join(SUFFIXES)} files")
        return files
    if not path.is_file():
        raise UsageError(f"{path} does not exist", hint="give a run, a dataset folder, or a .jsonl or .parquet file")
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: unknown kind of file {path.suffix!r}", hint=f"known: {', '.join(SUFFIXES)}")
    return [path]


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of a file, or of all files of a folder.

    Of a folder that `psyllm export --format hf` wrote, only the rows of kind messages: the others say the same.
    Raises UsageError naming file and line.
    """
    readers = {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet}
    for file in row_files(path / "messages" if (path / "messages").is_dir() else path):
        try:
            for place, row in readers[file.suffix](file):
                if not isinstance(row, dict):
                    raise UsageError(f"{place}: not an object but {type(row).__name__}", hint="write one object a row")
                yield place, row
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror or error}", hint="mend its rights") from error


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}:{number}", _parsed(f"{path}:{number}", line)


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    value = _parsed(str(path), path.read_bytes())
    for number, row in enumerate(value if isinstance(value, list) else [value], 1):
        yield f"{path}, item {number}", row


def _parsed(place: str, raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: not valid JSON: {error}", hint="mend the row, or remove it") from error


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path} is no Parquet file: {error}", hint="was it copied whole?") from error


# ---------------------------------------------------------------- writing


@dataclass(slots=True)
class Written:
    """One file as it was written."""

    name: str
    """Relative to the folder of the output."""
    rows: int = 0
    sha256: str = ""
    bytes: int = 0


class RowWriter(Protocol):
    def write(self, row: dict[str, Any]) -> None: ...

    def close(self) -> list[Written]:
        """Finish the files; says what is in them."""
        ...


class JsonlWriter:
    """One .jsonl file."""

    def __init__(self, path: Path, name: str) -> None:
        self._written = Written(name)
        self._path = path
        self._file = path.open("w", encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._written.rows += 1

    def close(self) -> list[Written]:
        self._file.close()
        return [_hashed(self._written, self._path)]


@dataclass(slots=True)
class ParquetWriter:
    """One Parquet file, or, where `stem` holds '{}', one for every 20,000 rows."""

    folder: Path
    stem: str
    """File name relative to the folder."""
    schema: pa.Schema
    _files: list[Written] = field(default_factory=list)
    _held: list[dict[str, Any]] = field(default_factory=list)
    _open: Any = None

    def write(self, row: dict[str, Any]) -> None:
        self._held.append(row)
        if len(self._held) == _BATCH:
            self._flush()

    def close(self) -> list[Written]:
        if self._held or not self._files:
            self._flush()
        if self._open is not None:
            self._open.close()
        return [_hashed(written, self.folder / written.name) for written in self._files]

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._open is None or ("{}" in self.stem and self._files[-1].rows >= _SHARD):
            if self._open is not None:
                self._open.close()
            self._files.append(Written(self.stem.format(f"{len(self._files):05d}")))
            path = self.folder / self._files[-1].name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open = pq.ParquetWriter(path, self.schema, compression="zstd")
        self._open.write_table(pa.Table.from_pylist(self._held, schema=self.schema))
        self._files[-1].rows += len(self._held)
        self._held.clear()


def _hashed(written: Written, path: Path) -> Written:
    with path.open("rb") as file:
        written.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    written.bytes = path.stat().st_size
    return written


def schema(kind: str) -> pa.Schema:
    """The columns of one kind of row (messages, per-turn, preference) in Parquet."""
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    messages = pa.list_(pa.struct([("role", text), ("content", text), ("reasoning_content", text)]))
    about = [("modality", text), ("severity", text), ("mode", text), ("risk_level", number), ("system_prompt", text)]
    about += [("source", text), ("license", text), ("rehearsal", pa.bool_()), ("run", text)]
    turn = [("dialogue_id", text), ("post_id", text), ("round", number), ("prompt", messages)]
    columns = {
        "messages": [("post_id", text), ("messages", messages)],
        "per-turn": [*turn, ("completion", messages)],
        "preference": [*turn, ("chosen", messages), ("rejected", messages), ("reasons", pa.list_(text))],
    }
    return pa.schema([("id", text), *columns[kind], *about])
