"""Rows of any source, one at a time: JSONL, CSV, Parquet, text files, Hugging Face datasets.

    for row in Source(Path("dump.jsonl.zst")).rows(): row.place, row.read()

Nothing is held but the line at hand, so that a file of 10 GB takes no more memory than one of 10 KB.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from pydantic import JsonValue

from psyllm.errors import Failure, UsageError

EXAMPLE = '{"id": "a1", "text": "..."}'
HUB = "hf:"
"""What a source starts with that is the name of a dataset on the Hugging Face Hub."""
LONGEST_LINE = 64 << 20
"""Bytes. A longer line is no post, and would not fit the memory."""
_CHUNK = 1 << 20
_PACKED = 1 << 14
"""Bytes unpacked at a time: what is in them may be a thousand times as long."""
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True, slots=True)
class Row:
    place: str
    """File and 1-based line or row, for messages."""
    read: Callable[[], JsonValue]
    """Gives the row's value; raises UsageError if the line holds none."""


@dataclass
class Source:
    """One source, as named on the command line. `read_bytes` and `notes` grow while rows are read."""

    name: str | Path
    split: str = "train"
    """Of a Hugging Face dataset."""
    config: str | None = None
    """Of a Hugging Face dataset that has several."""
    cut_off: bool = False
    """Take the whole lines of a compressed file that ends too early."""
    read_bytes: int = 0
    """Bytes of the file read so far, compressed ones where it is compressed."""
    recoded: int = 0
    """Lines that were not UTF-8 and were read as what they most likely are."""
    notes: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return Path(self.name)

    def size(self) -> int | None:
        """Bytes in all; None where nobody can tell."""
        if self._on_hub or _is_saved_dataset(self.path):
            return None
        files = _text_files(self.path) if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())

    def rows(self) -> Iterator[Row]:
        """Every row. Raises UsageError for a source that is none or breaks off, Failure for one that cannot be read."""
        self.read_bytes = self.recoded = 0
        if self._on_hub:
            return self._hub_rows()
        path = self.path
        if path.is_dir():
            return _saved_rows(path, self.split) if _is_saved_dataset(path) else self._folder_rows(path)
        if not path.is_file():
            raise UsageError(f"{path} does not exist", hint=f"give a file or folder of posts, or {HUB}OWNER/NAME")
        readers = {".jsonl": self._json_rows, ".csv": self._csv_rows, ".tsv": self._csv_rows}
        kind = Path(path.stem).suffix if path.suffix == ".zst" else path.suffix
        if kind.lower() == ".parquet":
            return self._parquet_rows(path)
        if path.suffix == ".zst" and not kind:
            return self._json_rows(path)  # the monthly Reddit dumps, RS_2023-01.zst
        if kind.lower() not in readers:
            raise UsageError(
                f"{path}: unknown kind of file {kind!r}",
                hint=f"posts come as {', '.join(readers)}, each also as .zst, as .parquet, or as a folder of .txt",
            )
        return readers[kind.lower()](path)

    @property
    def _on_hub(self) -> bool:
        return str(self.name).startswith(HUB)

    # ------------------------------------------------------------ lines

    def _lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """Numbered lines as text, a byte order mark taken off. Blank ones too."""
        rest, number = b"", 0
        for block in self._blocks(path):
            if not number and not rest and (coding := _BOMS.get(block[:2])):
                raise UsageError(f"{path} is {coding}", hint=f"iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}")
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                number += 1
                yield number, self._text(line, number)
            if len(rest) > LONGEST_LINE:
                raise UsageError(
                    f"{path}:{number + 1}: a line of more than {LONGEST_LINE >> 20} MB", hint="is it one post a line?"
                )
        if rest:
            yield number + 1, self._text(rest, number + 1)
        elif not number:
            raise UsageError(f"{path} is empty", hint=f"write one post a line, e.g. {EXAMPLE}")

    def _text(self, line: bytes, number: int) -> str:
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            from ftfy import guess_bytes

            self.recoded += 1
            text, _ = guess_bytes(line)
            return str(text)

    def _blocks(self, path: Path) -> Iterator[bytes]:
        with _readable(path), path.open("rb") as file:
            yield from self._unpacked(path, file) if path.suffix == ".zst" else self._plain(file)

    def _plain(self, file: IO[bytes], size: int = _CHUNK) -> Iterator[bytes]:
        while block := file.read(size):
            self.read_bytes += len(block)
            yield block

    def _unpacked(self, path: Path, file: IO[bytes]) -> Iterator[bytes]:
        """Frame by frame; zstandard's own reader takes a file cut off in a frame for a whole one."""
        import zstandard

        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        frame = unpacker.decompressobj()
        begun = False
        for packed in self._plain(file, _PACKED):
            block = packed
            while block:
                begun = True
                try:
                    unpacked = frame.decompress(block)
                except zstandard.ZstdError as error:
                    raise UsageError(
                        f"{path} cannot be unpacked: {error}", hint=f"`zstd -t {path}`; get it anew"
                    ) from error
                yield unpacked
                block = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame, begun = unpacker.decompressobj(), False
        if begun and not self.cut_off:
            raise UsageError(
                f"{path} is cut off in the middle, after {self.read_bytes:,} bytes",
                hint="get it anew, or take its whole lines with --skip-invalid",
            )
        if begun:
            self.notes.append(f"{path} is cut off in the middle; its last line may be missing")

    # ------------------------------------------------------------ kinds

    def _json_rows(self, path: Path) -> Iterator[Row]:
        found = False
        for number, line in self._lines(path):
            if line.strip():
                found = True
                yield Row(f"{path}:{number}", partial(_parsed, f"{path}:{number}", line))
        if not found:
            raise UsageError(f"{path} is empty", hint=f"write one post a line, e.g. {EXAMPLE}")

    def _csv_rows(self, path: Path) -> Iterator[Row]:
        csv.field_size_limit(LONGEST_LINE)
        tabs = ".tsv" in (suffix.lower() for suffix in path.suffixes)
        lines = (f"{line}\n" for _, line in self._lines(path))
        reader = csv.reader(lines, delimiter="\t" if tabs else ",", strict=True)
        try:
            header = next(reader)
            if not any(name.strip() for name in header):
                raise UsageError(f"{path} is empty", hint="the first line names the columns: id, text")
            if len(set(header)) < len(header):
                twice = next(name for name in header if header.count(name) > 1)
                raise UsageError(f"{path}:1: two columns are named {twice!r}", hint="give each column its own name")
            for cells in reader:
                if cells:
                    first = reader.line_num - sum(cell.count("\n") for cell in cells)
                    yield Row(f"{path}:{first}", partial(_named, f"{path}:{first}", header, cells))
        except csv.Error as error:
            raise UsageError(
                f"{path}:{reader.line_num}: not valid {'TSV' if tabs else 'CSV'}: {error}",
                hint="put cells that hold quotes in quotes",
            ) from error

    def _parquet_rows(self, path: Path) -> Iterator[Row]:
        import pyarrow as pa
        from pyarrow import parquet

        with _readable(path):
            try:
                file = parquet.ParquetFile(path)
                number, total = 0, max(1, file.metadata.num_rows)
                for batch in file.iter_batches(batch_size=500):
                    for value in batch.to_pylist():
                        number += 1
                        yield Row(f"{path}:{number}", partial(_plain, value))
                    self.read_bytes = path.stat().st_size * number // total
            except pa.ArrowException as error:
                raise UsageError(f"{path} is no Parquet file: {error}", hint="was it written to its end?") from error

    def _folder_rows(self, folder: Path) -> Iterator[Row]:
        files = _text_files(folder)
        if not files:
            raise UsageError(
                f"{folder} holds no .txt file and no saved dataset",
                hint=f"name the files, e.g. {folder}/*.jsonl, or put each post into a .txt file of its own",
            )
        for file in files:
            text = "\n".join(line.rstrip("\r") for _, line in self._lines_of(file))
            yield Row(str(file), partial(_plain, {"id": str(file.relative_to(folder).with_suffix("")), "text": text}))

    def _lines_of(self, file: Path) -> Iterable[tuple[int, str]]:
        return self._lines(file) if file.stat().st_size else ()

    def _hub_rows(self) -> Iterator[Row]:
        from datasets import load_dataset

        name = str(self.name).removeprefix(HUB)
        try:
            rows = load_dataset(name, self.config, split=self.split, streaming=True)
            for number, value in enumerate(rows, 1):
                yield Row(f"{name}:{number}", partial(_plain, dict(value)))
        except (ValueError, OSError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(
                f"the dataset {name!r} cannot be loaded: {first}",
                hint="its page on the Hub tells its name, --split and --config; a private one needs `hf auth login`",
            ) from error


def _saved_rows(folder: Path, split: str) -> Iterator[Row]:
    """A folder that `datasets` saved, or that it can load."""
    from datasets import DatasetDict, load_dataset, load_from_disk

    saved = any((folder / name).is_file() for name in _SAVED)
    try:
        found: Any = load_from_disk(str(folder)) if saved else load_dataset(str(folder), split=split, streaming=True)
    except (ValueError, OSError) as error:
        raise UsageError(f"{folder} cannot be loaded as a dataset: {str(error).splitlines()[0]}") from error
    if isinstance(found, DatasetDict):
        if split not in found:
            raise UsageError(
                f"{folder} has no split {split!r}; found: {', '.join(found)}", hint="name one with --split"
            )
        found = found[split]
    for number, value in enumerate(found, 1):
        yield Row(f"{folder}:{number}", partial(_plain, dict(value)))


_SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")
_SHARDS = re.compile(r".*\.(?:parquet|arrow)")


def _is_saved_dataset(folder: Path) -> bool:
    return folder.is_dir() and (
        any((folder / name).is_file() for name in _SAVED)
        or any(_SHARDS.fullmatch(file.name) for depth in ("*", "*/*") for file in folder.glob(depth))
    )


def _text_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*.txt") if file.is_file())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure("store", f"{path} cannot be read: {error.strerror or error}", hint="mend its rights") from error


def _parsed(place: str, line: str) -> JsonValue:
    try:
        return cast(JsonValue, json.loads(line))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{place}: not valid JSON: {error.msg} at column {error.colno}", hint=f"one object a line, e.g. {EXAMPLE}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: cannot be read: {error}", hint=f"one object a line, e.g. {EXAMPLE}") from error


def _named(place: str, header: Sequence[str], cells: Sequence[str]) -> JsonValue:
    if len(cells) != len(header):
        raise UsageError(
            f"{place}: {len(cells)} cells, but the first line names {len(header)} columns",
            hint="put cells that hold commas or line breaks in quotes",
        )
    return dict(zip(header, cells, strict=True))


def _plain(value: Any) -> JsonValue:
    """Only what JSON knows: dates and bytes become texts."""
    return cast(JsonValue, json.loads(json.dumps(value, default=str)))
