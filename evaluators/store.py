"""What an evaluation leaves beside its journal: DIR/eval.json and one JSON-lines file a kind of record.

They are written whole, at the end; the journal alone decides what is paid again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from evaluators.bench import Results, Spec
from evaluators.records import Client, Outcome, Preference, Rating, Talk
from evaluators.rubric import Rubric, load
from psyllm.errors import Failure, UsageError
from psyllm.records import PromptRef, Record

RUBRICS = "rubrics"
Kept = TypeVar("Kept", bound=Record)


class Seat(Record):
    """One model at the table."""

    name: str
    model: str
    kind: str
    sampling: dict[str, Any]


class Header(Record):
    """eval.json: the exact settings, what it cost, what was left out."""

    software_version: str
    finished: str
    """ISO time, UTC."""
    counsellors: tuple[str, ...]
    judges: tuple[str, ...]
    client_model: str
    kind: str
    rounds: int
    variants: int
    repeats: int
    moments: int
    compare: bool
    safety: bool
    seed: int
    rubrics: tuple[PromptRef, ...]
    prompts: tuple[PromptRef, ...]
    seats: tuple[Seat, ...]
    unsuitable: dict[str, str]
    """Post id -> why no client was made of it."""
    rehearsal: bool


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation, read back."""

    folder: Path
    header: Header
    clients: tuple[Client, ...]
    talks: tuple[Talk, ...]
    ratings: tuple[Rating, ...]
    preferences: tuple[Preference, ...]
    outcomes: tuple[Outcome, ...]


def header(spec: Spec, **more: Any) -> Header:
    own = {name: getattr(spec, name) for name in Header.model_fields if hasattr(spec, name)}
    return Header.model_validate(own | more)


def write(folder: Path, head: Header, rubrics: Sequence[Rubric], results: Results) -> None:
    """Write every file under a temporary name, then rename them, eval.json last. Raises Failure('store').

    The rubrics' files are kept too, so that a report can be made when they have moved on.
    """
    files: dict[str, Iterable[Record]] = {
        "clients.jsonl": results.clients,
        "talks.jsonl": results.talks,
        "ratings.jsonl": results.ratings,
        "preferences.jsonl": results.preferences,
        "outcomes.jsonl": results.outcomes,
    }
    texts = {name: "".join(record.model_dump_json() + "\n" for record in records) for name, records in files.items()}
    texts["eval.json"] = json.dumps(head.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    try:
        (folder / RUBRICS).mkdir(exist_ok=True)
        for rubric in rubrics:
            shutil.copyfile(rubric.path, folder / RUBRICS / f"{rubric.id}.md")
        for name, text in texts.items():
            (folder / f".{name}.partial").write_text(text, encoding="utf-8")
        for name in texts:
            (folder / f".{name}.partial").rename(folder / name)
    except OSError as error:
        raise Failure("store", f"cannot write the results into {folder}: {error.strerror}") from error


def read(folder: Path) -> Evaluation:
    """Raises UsageError if there is no finished evaluation here, or a file of it is damaged."""
    if not (folder / "eval.json").is_file():
        hint = "`psyllm eval run ... --out DIR` makes one; if it was stopped, the same command goes on"
        raise UsageError(f"{folder} holds no finished evaluation", hint=hint)
    try:
        head = Header.model_validate_json((folder / "eval.json").read_text(encoding="utf-8"))
    except (ValidationError, OSError) as error:
        raise UsageError(f"{folder / 'eval.json'} cannot be read: {error}", hint="run the evaluation again") from error
    return Evaluation(
        folder,
        head,
        _rows(folder / "clients.jsonl", Client),
        _rows(folder / "talks.jsonl", Talk),
        _rows(folder / "ratings.jsonl", Rating),
        _rows(folder / "preferences.jsonl", Preference),
        _rows(folder / "outcomes.jsonl", Outcome),
    )


def rubrics_of(evaluation: Evaluation) -> tuple[Rubric, ...]:
    """The rubrics that it was judged by, as they were then."""
    return tuple(load(str(evaluation.folder / RUBRICS / f"{ref.id}.md")) for ref in evaluation.header.rubrics)


def _rows(path: Path, kind: type[Kept]) -> tuple[Kept, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(kind.model_validate_json(line) for line in lines)
    except (ValidationError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="run the evaluation again") from error
