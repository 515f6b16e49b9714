"""Conversations from any source that statistics can be made of: a run, rows of ours, the published OpenR1-Psy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.check import shape_of
from corpus.rows import mode_of
from corpus.tables import read_rows
from psyllm.errors import UsageError
from psyllm.records import Dialogue, Status, Turn, Verdict
from psyllm.runs import Run


@dataclass(frozen=True, slots=True)
class Exchange:
    client: str
    reasoning: str
    reply: str
    critic: frozenset[str] | None = None
    """Markers and anti-markers that the critic saw in the reply; None: no critic's word is recorded."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Empty fields: the source does not record it."""

    exchanges: tuple[Exchange, ...]
    modality: str = ""
    scene: str = ""
    severity: str = ""
    mode: str = ""
    """The most urgent response mode."""
    verdicts: tuple[Verdict, ...] = ()
    """The engine's, after the last turn."""
    rehearsal: bool = False


def is_run(path: Path) -> bool:
    return any(path.glob("journal-*.db"))


def conversations(path: Path) -> Iterator[Conversation]:
    """The accepted dialogues of a run without forks, or the rows of a dataset.

    Raises UsageError for what is neither, and for rows that hold no whole conversation.
    """
    if is_run(path):
        with Run(path) as run:
            yield from map(_of_dialogue, run.dialogues(Status.ACCEPTED))
        return
    for place, row in read_rows(path):
        shape = shape_of(row)
        if shape not in ("messages", "openr1-psy"):
            raise UsageError(
                f"{place}: no whole conversation; fields: {', '.join(row)}",
                hint="give a run, or rows of format messages, parquet, hf or openr1-psy",
            )
        try:
            yield _of_messages(row) if shape == "messages" else _of_published(row)
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{place}: not what {shape} rows look like ({type(error).__name__}: {error})",
                hint="`psyllm export --check` names every such row",
            ) from error


def _of_dialogue(dialogue: Dialogue) -> Conversation:
    plan = dialogue.plan
    return Conversation(
        exchanges=tuple(
            Exchange(turn.client_text, turn.reply.reasoning, turn.reply.text, _critics_word(turn))
            for turn in dialogue.turns
            if turn.reply
        ),
        modality=plan.modality.chosen if plan else "",
        scene=plan.scene.category if plan else "",
        severity=plan.severity if plan else "",
        mode=mode_of(dialogue),
        verdicts=tuple(finding.verdict for finding in dialogue.turns[-1].findings) if dialogue.turns else (),
        rehearsal=dialogue.provenance.rehearsal,
    )


def _critics_word(turn: Turn) -> frozenset[str] | None:
    """What code sent back or a person let pass has none."""
    if turn.critique is None or turn.critique.by != "model":
        return None
    return frozenset((*turn.critique.markers, *turn.critique.anti))


def _of_messages(row: Mapping[str, Any]) -> Conversation:
    spoken = [message for message in row["messages"] if message["role"] != "system"]
    return Conversation(
        exchanges=tuple(
            Exchange(asked["content"], said.get("reasoning_content") or "", said["content"])
            for asked, said in zip(spoken[::2], spoken[1::2], strict=False)
        ),
        modality=row.get("modality") or "",
        severity=row.get("severity") or "",
        mode=row.get("mode") or "",
        rehearsal=bool(row.get("rehearsal")),
    )


def _of_published(row: Mapping[str, Any]) -> Conversation:
    return Conversation(
        tuple(
            Exchange(turn["patient"], turn["counselor_think"], turn["counselor_content"])
            for turn in row["conversation"]
        )
    )
