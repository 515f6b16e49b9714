"""What a model is trained on, from a run folder, an export or a Hugging Face dataset: turns with their reasoning.

    conversations = read_conversations(Path("corpus.jsonl"), include_rehearsal=False)

Four kinds of rows are known by their fields: `messages` and per-turn (`prompt`, `completion`) as `psyllm export` writes
them, OpenR1-Psy's `conversation`, and preference pairs (`prompt`, `chosen`, `rejected`). One source holds one kind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from corpus.rows import chat_row, preference_rows
from prompts.library import Library, stored_role
from psyllm.errors import UsageError
from psyllm.records import Status
from psyllm.runs import Run

Message = dict[str, str]
Row = Mapping[str, Any]

KINDS = {
    "messages": ("messages",),
    "per-turn": ("prompt", "completion"),
    "openr1-psy": ("conversation",),
    "preference": ("prompt", "chosen", "rejected"),
}
"""Kind of row -> the fields that it is known by."""

ABOUT = ("source", "license", "modality", "severity", "system_prompt")
"""Fields of a row that the data manifest and the model card count."""


@dataclass(frozen=True)
class Turn:
    """One reply to learn, as it is asked for at inference."""

    prompt: tuple[Message, ...]
    """System and spoken words up to the client's; no reasoning."""
    reasoning: str
    reply: str


@dataclass(frozen=True)
class Pair:
    """Two replies to one prompt; the first was kept."""

    prompt: tuple[Message, ...]
    chosen: Message
    """An assistant message with reasoning_content."""
    rejected: Message


@dataclass(frozen=True)
class Conversation:
    """The turns, or pairs, of one dialogue."""

    id: str
    post_id: str
    """Source post: conversations that share one never stand on both sides of a split."""
    turns: tuple[Turn, ...] = ()
    pairs: tuple[Pair, ...] = ()
    split: str = ""
    """The split that the source puts it in; empty if the source has none."""
    rehearsal: bool = False
    about: Mapping[str, str] = field(default_factory=dict)
    """Those of ABOUT that the source gives."""


def read_conversations(source: Path, *, include_rehearsal: bool, pairs: bool = False) -> list[Conversation]:
    """Every conversation of a source, in its order; `pairs` asks for preference pairs instead of turns.

    Raises UsageError for what is no source, names file, line and field of a row that does not fit, and refuses
    rehearsal words unless they are asked for.
    """
    rows = _Rows(source, pairs)
    found: dict[str, Conversation] = {}
    for place, split, row in rows:
        one = rows.conversation(place, split, row)
        if one.rehearsal and not include_rehearsal:
            raise UsageError(
                f"{place} was made by the rehearsal backend: stand-in words, not training data",
                hint="add --include-rehearsal to try the training stage all the same",
            )
        before = found.get(one.id)
        if before is not None and not rows.parts:
            raise UsageError(f"{place}: id {one.id!r} is there twice", hint="give every dialogue an id of its own")
        found[one.id] = one if before is None else _joined(before, one)
    if not found:
        wanted = "repaired turn (a draft that the critic sent back)" if pairs else "accepted dialogue"
        raise UsageError(f"{source} holds no {wanted}", hint="`psyllm status RUN` says what a run holds")
    return list(found.values())


def split_by_post(
    conversations: Sequence[Conversation], share: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """(train, held out): the source's own splits if it has any, else about `share` of the posts, by a hash.

    Raises UsageError if a post stands in two splits of the source, or nothing is left to train on.
    """
    splits = {one.split for one in conversations}
    if len(splits) > 1:
        sides: dict[str, str] = {}
        for one in conversations:
            if sides.setdefault(one.post_id, one.split) != one.split:
                raise UsageError(
                    f"post {one.post_id!r} is in two splits: {sides[one.post_id]} and {one.split}",
                    hint="split by source post: `psyllm export` does",
                )
        train = [one for one in conversations if one.split == "train"]
        held = [one for one in conversations if one.split == ("validation" if "validation" in splits else "test")]
    else:
        posts = sorted(
            {one.post_id for one in conversations}, key=lambda post: hashlib.sha256(f"{seed}/{post}".encode()).digest()
        )
        out = set(posts[: max(1, round(len(posts) * share))] if share else ())
        train = [one for one in conversations if one.post_id not in out]
        held = [one for one in conversations if one.post_id in out]
    if not train:
        raise UsageError("nothing is left to train on after the split", hint="more data, or --set eval_share=0")
    return train, held


def manifest(train: Iterable[Conversation], held: Sequence[Conversation], source: Path) -> dict[str, Any]:
    """What the model is trained on: counts, a hash over every word, and the values of ABOUT with their counts."""
    digest, dialogues, turns, rehearsal = hashlib.sha256(), 0, 0, 0
    counts: dict[str, dict[str, int]] = {name: {} for name in ABOUT}
    for one in train:
        dialogues += 1
        turns += len(one.turns) or len(one.pairs)
        rehearsal += one.rehearsal
        said = [*map(astuple, one.turns), *map(astuple, one.pairs)]
        digest.update(json.dumps([one.id, said], ensure_ascii=False).encode())
        for name, value in one.about.items():
            counts[name][value] = counts[name].get(value, 0) + 1
    return {
        "path": str(source),
        "sha256": digest.hexdigest(),
        "dialogues": dialogues,
        "turns": turns,
        "rehearsal_dialogues": rehearsal,
        "held_out_dialogues": len(held),
    } | {name: dict(sorted(values.items())) for name, values in counts.items() if values}


def _joined(one: Conversation, other: Conversation) -> Conversation:
    return Conversation(
        one.id, one.post_id, one.turns + other.turns, one.pairs + other.pairs, one.split, one.rehearsal, one.about
    )


class _Rows:
    """The rows of a source with their places; checks that all are of one kind and hold their fields."""

    def __init__(self, source: Path, pairs: bool) -> None:
        self._source = source
        self._pairs = pairs
        self._kind: tuple[str, str] | None = None
        """Kind of the first row, and its place."""
        self._system = ""

    @property
    def parts(self) -> bool:
        """Whether several rows make one conversation."""
        return self._kind is not None and self._kind[0] in ("per-turn", "preference")

    def __iter__(self) -> Iterator[tuple[str, str, Row]]:
        source = self._source
        if source.is_file() and source.suffix != ".parquet":
            return _jsonl(source)
        if source.is_dir() and any(source.glob("journal-*.db")):
            return _run(source, self._pairs)
        if source.is_dir() and (files := sorted(source.glob("*.jsonl"))):
            return ((place, file.stem, row) for file in files for place, _, row in _jsonl(file))
        return _datasets(source, self._pairs)

    def conversation(self, place: str, split: str, row: Row) -> Conversation:
        kind = _kind(place, row)
        if self._kind is None:
            self._kind = (kind, place)
        elif kind != self._kind[0]:
            raise UsageError(
                f"{place} is a {kind} row, {self._kind[1]} a {self._kind[0]} row", hint="keep one kind to a source"
            )
        if self._pairs != (kind == "preference"):
            stage = "dpo" if self._pairs else "sft"
            raise UsageError(
                f"{place}: `train {stage}` cannot use {kind} rows",
                hint="preference rows are for dpo (`psyllm export --format preference`), all others for sft",
            )
        read: Callable[[str, Row], Conversation] = getattr(self, f"_{kind.replace('-', '_')}")
        one = read(place, row)
        return Conversation(
            one.id,
            str(row.get("post_id") or one.id),
            one.turns,
            one.pairs,
            split or str(row.get("split") or ""),
            bool(row.get("rehearsal")),
            {name: str(row[name]) for name in ABOUT if row.get(name)},
        )

    def _messages(self, place: str, row: Row) -> Conversation:
        messages = _listed(place, row, "messages")
        turns = []
        spoken: list[Message] = []
        for number, message in enumerate(messages, 1):
            role = message.get("role")
            wanted = ("assistant",) if spoken and spoken[-1]["role"] == "user" else ("user", "system")
            if role not in wanted or (role == "system" and spoken):
                raise UsageError(f"{place}: message {number} is by {role!r}, expected {wanted[0]!r}")
            if role == "assistant":
                turns.append(Turn(tuple(spoken), _reasoning(message), _text(place, message, "content")))
            spoken.append({"role": str(role), "content": _text(place, message, "content")})
        if not turns:
            raise UsageError(f"{place}: no assistant message to learn from")
        return Conversation(str(row.get("id") or place), "", tuple(turns))

    def _per_turn(self, place: str, row: Row) -> Conversation:
        answer = _answer(place, row, "completion")
        turn = Turn(_prompt(place, row), _reasoning(answer), answer["content"])
        return Conversation(str(row.get("dialogue_id") or row.get("id") or place), "", (turn,))

    def _preference(self, place: str, row: Row) -> Conversation:
        pair = Pair(_prompt(place, row), _answer(place, row, "chosen"), _answer(place, row, "rejected"))
        return Conversation(str(row.get("dialogue_id") or row.get("id") or place), "", (), (pair,))

    def _openr1_psy(self, place: str, row: Row) -> Conversation:
        self._system = self._system or Library().roles["counsellor"].render("system")
        spoken: list[Message] = [{"role": "system", "content": self._system}]
        turns = []
        for exchange in _listed(place, row, "conversation"):
            spoken.append({"role": "user", "content": _text(place, exchange, "patient")})
            reply = _text(place, exchange, "counselor_content")
            turns.append(Turn(tuple(spoken), str(exchange.get("counselor_think") or ""), reply))
            spoken.append({"role": "assistant", "content": reply})
        return Conversation(str(row.get("id") or f"{row.get('file')}/{row.get('post_id')}/{place}"), "", tuple(turns))


def _kind(place: str, row: Row) -> str:
    for kind in ("preference", "per-turn", "messages", "openr1-psy"):
        if all(row.get(name) is not None for name in KINDS[kind]):
            return kind
    known = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in KINDS.items())
    raise UsageError(f"{place} has the fields {', '.join(map(str, row)) or '(none)'}", hint=f"rows known are {known}")


def _listed(place: str, row: Row, name: str) -> list[Row]:
    value = row[name]
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        raise UsageError(f"{place}: {name} is not a list of objects", hint="docs/training.md shows a row of each kind")
    return value


def _text(place: str, row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{place}: {name} is missing or empty", hint="docs/training.md shows a row of each kind")
    return value


def _reasoning(message: Row) -> str:
    """Empty if there is none: templates that look for another key drop it in silence, so rows() names such turns."""
    value = message.get("reasoning_content")
    return value if isinstance(value, str) else ""


def _prompt(place: str, row: Row) -> tuple[Message, ...]:
    """Spoken words only: an export holds no earlier reasoning, and what somebody else's holds is dropped."""
    messages = _listed(place, row, "prompt")
    if messages[-1].get("role") != "user":
        raise UsageError(f"{place}: prompt ends with {messages[-1].get('role')!r}, expected 'user'")
    return tuple({"role": str(m.get("role")), "content": _text(place, m, "content")} for m in messages)


def _answer(place: str, row: Row, name: str) -> Message:
    messages = _listed(place, row, name)
    if len(messages) != 1 or messages[0].get("role") != "assistant":
        raise UsageError(f"{place}: {name} is not one assistant message")
    words = _text(place, messages[0], "content")
    return {"role": "assistant", "reasoning_content": _reasoning(messages[0]), "content": words}


def _jsonl(file: Path) -> Iterator[tuple[str, str, Row]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise UsageError(
                        f"{file}:{number}: not JSON: {error}",
                        hint="give a run folder, an export (one JSON object a line, or .parquet), or a dataset",
                    ) from error
                if not isinstance(row, dict):
                    raise UsageError(f"{file}:{number}: not a JSON object", hint="one JSON object a line")
                yield f"{file}:{number}", "", row


def _run(folder: Path, pairs: bool) -> Iterator[tuple[str, str, Row]]:
    with Run(folder) as run:
        counsellor = stored_role("counsellor", run.prompt("counsellor")[1])
        for dialogue in run.dialogues(Status.ACCEPTED):
            place = f"{folder}, dialogue {dialogue.id}"
            if pairs:
                yield from ((place, "", row) for row in preference_rows(dialogue, counsellor))
            else:
                yield place, "", chat_row(dialogue, counsellor)


def _datasets(source: Path, pairs: bool) -> Iterator[tuple[str, str, Row]]:
    """Parquet, a folder of `datasets`, or a name on the Hub."""
    if not source.exists() and len(source.parts) != 2:
        raise UsageError(f"{source} does not exist", hint="give a run folder, an export, or a dataset's OWNER/NAME")
    import datasets

    try:
        if source.suffix == ".parquet":
            loaded = datasets.load_dataset("parquet", data_files=str(source))
        elif (source / "state.json").exists() or (source / "dataset_dict.json").exists():
            loaded = datasets.load_from_disk(str(source))
        else:
            wanted = "preference" if pairs else "messages"
            name = wanted if wanted in datasets.get_dataset_config_names(str(source)) else None
            loaded = datasets.load_dataset(str(source), name)
    except (OSError, ValueError) as error:
        raise UsageError(f"{source} cannot be read: {str(error).splitlines()[0]}", hint="is it a dataset?") from error
    splits = loaded if isinstance(loaded, datasets.DatasetDict) else {"": loaded}
    for split, rows in splits.items():
        name = str(split) if len(splits) > 1 else ""
        for number, row in enumerate(rows):
            yield f"{source}, {split or 'row'} {number}", name, row
