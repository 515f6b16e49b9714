"""Validates a dataset of dialogues, ours or another one of the same shapes: each row, the splits, the manifest.

The shape of a row is known by its fields: messages, prompt + completion, prompt + chosen + rejected, conversation
(the published OpenR1-Psy).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.chat_template import ChatTemplate
from corpus.splits import NAMES
from corpus.tables import MANIFEST, read_rows, row_files
from psyllm.errors import Failure

_SHAPES = {
    "messages": ("messages",),
    "preference": ("prompt", "chosen", "rejected"),
    "per-turn": ("prompt", "completion"),
    "openr1-psy": ("conversation",),
}
OPENR1_ROW = {"post_id", "file", "conversation"}
OPENR1_TURN = {"patient", "counselor_think", "counselor_content"}


@dataclass
class Checked:
    rows: Counter[str] = field(default_factory=Counter)
    """Shape -> rows."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(place, what is wrong)."""


def check(path: Path, template: ChatTemplate | None = None) -> Checked:
    """Every problem of a dataset in one pass. Raises UsageError for a file that cannot be read at all.

    With a chat template, a row whose rendered completion lacks its reasoning is a problem too.
    """
    checked = Checked()
    ids: dict[tuple[str, str], str] = {}
    splits: dict[str, set[str]] = defaultdict(set)
    for file in row_files(path):
        split = next((name for name in NAMES if file.name.startswith(name)), "")
        for place, row in read_rows(file):
            shape = shape_of(row)
            checked.rows[shape or "unknown"] += 1
            checked.problems += [(place, what) for what in _row(shape, row)]
            if template and shape and shape != "openr1-psy" and not any(_row(shape, row)):
                checked.problems += [(place, what) for what in _unrendered(template, row)]
            identity = row.get("id")
            if isinstance(identity, str) and (first := ids.setdefault((shape, identity), place)) != place:
                checked.problems.append((place, f"id {identity!r} was used before, at {first}"))
            if split and isinstance(post_id := row.get("post_id"), str):
                splits[post_id].add(split)
    checked.problems += [
        (str(path), f"post {post_id!r} is in {' and '.join(sorted(names))}")
        for post_id, names in splits.items()
        if len(names) > 1
    ]
    checked.problems += _manifest(path)
    return checked


def shape_of(row: Mapping[str, Any]) -> str:
    """'' if no shape fits."""
    return next((shape for shape, fields in _SHAPES.items() if all(name in row for name in fields)), "")


def _row(shape: str, row: Mapping[str, Any]) -> Iterator[str]:
    if shape == "messages":
        yield from _conversation(row["messages"], "messages", last="assistant", thinks=True)
    elif shape in ("per-turn", "preference"):
        yield from _conversation(row["prompt"], "prompt", last="user", thinks=False)
        for name in _SHAPES[shape][1:]:
            yield from _answer(row[name], name)
        if shape == "preference" and row["chosen"] == row["rejected"]:
            yield "chosen and rejected are the same"
    elif shape == "openr1-psy":
        yield from _published(row)
    else:
        yield f"no known shape; fields: {', '.join(row)}"


def _conversation(value: Any, name: str, *, last: str, thinks: bool) -> Iterator[str]:
    if not _are_messages(value):
        yield f"{name} is no list of messages with role and content"
        return
    spoken = value[1:] if value[0]["role"] == "system" else value
    wanted = ["user" if number % 2 == 0 else "assistant" for number in range(len(spoken))]
    if [message["role"] for message in spoken] != wanted:
        yield f"{name}: user and assistant do not alternate from a user on"
    elif not spoken or spoken[-1]["role"] != last:
        yield f"{name} does not end with the {last}"
    for number, message in enumerate(value):
        if not message["content"].strip():
            yield f"{name}[{number}] is empty"
        has = bool((message.get("reasoning_content") or "").strip())
        if message["role"] == "assistant" and has != thinks:
            yield f"{name}[{number}] {'has reasoning, and a server sends none' if has else 'lacks reasoning_content'}"


def _answer(value: Any, name: str) -> Iterator[str]:
    if not _are_messages(value) or [message["role"] for message in value] != ["assistant"]:
        yield f"{name} is not one message of the assistant"
    elif not value[0]["content"].strip():
        yield f"{name} is empty"
    elif not (value[0].get("reasoning_content") or "").strip():
        yield f"{name} lacks reasoning_content"


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("role", "content"))


def _published(row: Mapping[str, Any]) -> Iterator[str]:
    if row.keys() != OPENR1_ROW:
        yield f"fields are {', '.join(sorted(row))}, not {', '.join(sorted(OPENR1_ROW))}"
    turns = row["conversation"]
    if not isinstance(turns, list) or not turns:
        yield "conversation is no list of turns"
        return
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict) or turn.keys() != OPENR1_TURN:
            yield f"conversation[{number}] has not the fields {', '.join(sorted(OPENR1_TURN))}"
        else:
            for name in sorted(OPENR1_TURN):
                if not isinstance(turn[name], str) or not turn[name].strip():
                    yield f"conversation[{number}].{name} is empty"


def _unrendered(template: ChatTemplate, row: Mapping[str, Any]) -> Iterator[str]:
    try:
        template.require_reasoning(row)
    except Failure as failure:
        yield str(failure)


def _manifest(path: Path) -> Iterator[tuple[str, str]]:
    """What differs from the manifest beside the dataset, if there is one."""
    file = path / MANIFEST if path.is_dir() else path.with_suffix(f".{MANIFEST}")
    if not file.is_file():
        return
    try:
        written = json.loads(file.read_text(encoding="utf-8"))["files"]
        expected = {entry["name"]: entry["sha256"] for entry in written}
    except (ValueError, KeyError, TypeError):
        yield str(file), "is no manifest of psyllm"
        return
    folder = path if path.is_dir() else path.parent
    for name, sha256 in expected.items():
        if not (folder / name).is_file():
            yield name, "is in the manifest, and missing"
        else:
            with (folder / name).open("rb") as data:
                if hashlib.file_digest(data, "sha256").hexdigest() != sha256:
                    yield name, "is not the file that the manifest names: its hash differs"
    for extra in sorted({str(found.relative_to(folder)) for found in row_files(path)} - expected.keys()):
        yield extra, "is not in the manifest"
