"""Reads posts from JSONL and CSV files.

    {"id": "a1", "title": "...", "text": "...", "source": "my forum", "license": "CC0-1.0"}

Only `id` and `text` are needed. Fields of other names are kept as metadata. A mistake is a UsageError that names
file and line, or, when invalid rows are skipped, a line in `PostFile.skipped`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from pydantic import JsonValue, ValidationError
from pydantic_core import PydanticSerializationError

from psyllm.errors import UsageError
from psyllm.records import Post

NEEDED = ("id", "text")
_OPTIONAL = ("title", "source", "license")
_EXAMPLE = '{"id": "a1", "text": "..."}'


@dataclass(frozen=True, slots=True)
class PostFile:
    """The posts of one or more files, in their order."""

    posts: tuple[Post, ...]
    extra_fields: tuple[str, ...]
    """Names of other fields found, sorted; their values are kept in `Post.metadata`."""
    skipped: tuple[str, ...]
    """One message "file:line: what" for each row left out; always empty unless invalid rows are skipped."""


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    line: int
    """1-based line on which the row starts."""
    read: Callable[[], JsonValue]
    """Gives the row's value; raises UsageError if the line holds none."""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


def read_posts(paths: Sequence[Path], *, skip_invalid: bool = False) -> PostFile:
    """Read .jsonl and .csv files.

    Raises UsageError for a file that cannot be read at all, and for an invalid row unless `skip_invalid`.
    """
    posts: dict[str, Post] = {}
    places: dict[str, str] = {}
    extra: set[str] = set()
    skipped: list[str] = []
    for path in paths:
        for row in _rows(path):
            try:
                post = _post(row)
                if post.id in posts:
                    raise UsageError(
                        f"{row.place}: id {post.id!r} was used before, at {places[post.id]}",
                        hint="give each post its own id",
                    )
            except UsageError as error:
                if not skip_invalid:
                    raise
                skipped.append(str(error))
                continue
            posts[post.id] = post
            places[post.id] = row.place
            extra |= post.metadata.keys()
    return PostFile(tuple(posts.values()), tuple(sorted(extra)), tuple(skipped))


def _rows(path: Path) -> Iterator[_Row]:
    readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows}
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name the files: " + " ".join(f"{path}/*{end}" for end in readers))
    if not path.is_file():
        raise UsageError(f"{path} does not exist", hint="give a .jsonl or .csv file of posts")
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path}: unknown kind of file {path.suffix!r}", hint="save the posts as .jsonl or .csv")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="mend its rights") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from error
    if not text.strip():
        raise UsageError(f"{path} is empty", hint=f"write one post a line, e.g. {_EXAMPLE}")
    yield from readers[path.suffix.lower()](path, text)


def _jsonl_rows(path: Path, text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _Row(path, number, partial(_parsed, f"{path}:{number}", line))


def _parsed(place: str, line: str) -> JsonValue:
    try:
        return cast(JsonValue, json.loads(line))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{place}: not valid JSON: {error.msg} at column {error.colno}", hint=f"one object a line, e.g. {_EXAMPLE}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: cannot be read: {error}", hint=f"one object a line, e.g. {_EXAMPLE}") from error


def _csv_rows(path: Path, text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader)
        if missing := [name for name in NEEDED if name not in header]:
            raise UsageError(
                f"{path}:1: no column {' and no column '.join(missing)}; found: {', '.join(header)}",
                hint=f"the first line names the columns: {', '.join((*NEEDED, *_OPTIONAL))}",
            )
        for cells in reader:
            if cells:
                first = reader.line_num - sum(cell.count("\n") for cell in cells)
                yield _Row(path, first, partial(_named, f"{path}:{first}", header, cells))
    except csv.Error as error:
        raise UsageError(
            f"{path}:{reader.line_num}: not valid CSV: {error}", hint="put cells that hold quotes in quotes"
        ) from error


def _named(place: str, header: Sequence[str], cells: Sequence[str]) -> JsonValue:
    if len(cells) != len(header):
        raise UsageError(
            f"{place}: {len(cells)} cells, but the first line names {len(header)} columns",
            hint="put cells that hold commas or line breaks in quotes",
        )
    return dict(zip(header, cells, strict=True))


def _post(row: _Row) -> Post:
    value = row.read()
    if not isinstance(value, dict):
        raise UsageError(f"{row.place}: not an object but {_short(value)}", hint=f"write {_EXAMPLE}")
    fields = {("license" if name == "licence" else name): content for name, content in value.items()}
    if missing := [name for name in NEEDED if fields.get(name) is None]:
        raise UsageError(
            f"{row.place}: field {' and field '.join(missing)} is missing; found: {', '.join(fields) or 'nothing'}",
            hint=f"each post needs {' and '.join(NEEDED)}",
        )
    if isinstance(fields["id"], int) and not isinstance(fields["id"], bool):
        fields["id"] = str(fields["id"])
    own = {name: fields[name] for name in (*NEEDED, *_OPTIONAL) if name in NEEDED or fields.get(name) not in (None, "")}
    for name, content in own.items():
        if not isinstance(content, str):
            raise UsageError(f"{row.place}: {name} is {_short(content)}, not a text", hint=f'write "{name}": "..."')
        if name in NEEDED and not content.strip():
            raise UsageError(f"{row.place}: {name} is empty", hint="fill it in, or remove the row")
    rest = {name: content for name, content in fields.items() if name not in (*NEEDED, *_OPTIONAL)}
    try:
        post = Post.model_validate({**own, "metadata": rest})
        post.model_dump_json()
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{row.place}: {'.'.join(map(str, first['loc']))}: {first['msg']}", hint="mend the row, or remove it"
        ) from error
    except PydanticSerializationError as error:
        raise UsageError(f"{row.place}: {error}", hint="mend the row, or remove it") from error
    return post


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
