"""Dialogues from files: fixed histories that counsellors answer, and existing dialogues that are judged as they stand.

{"id": "a1", "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
{"post_id": "a1", "conversation": [{"patient": "...", "counselor_content": "..."}]}       (OpenR1-Psy)
{"id": "a1", "text": "..."}                                                               (a first turn)

A reply's reasoning (`reasoning_content`, `counselor_think`, or <think> before it) is counted, and shown to no judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinical import Knowledge
from corpus.tables import read_rows
from evaluators.clients import graded
from evaluators.counsellors import apart
from evaluators.records import Client, Talk
from evaluators.talks import talk_id
from psyllm.errors import UsageError
from psyllm.records import Reply, Sentence, Turn

_ENDS = re.compile(r"(?<=[.!?…])[\"”’']?\s+|\n+")


def histories(path: Path, knowledge: Knowledge) -> Iterator[Client]:
    """Clients with written words: each row up to its last client turn, whose answer is asked for."""
    for place, row in read_rows(path):
        turns = _turns(place, row)
        last = turns[-1].model_copy(update={"reply": None})
        own = _id(place, row)
        yield Client(id=own, post_id=own, history=graded(knowledge, (*turns[:-1], last)))


def existing(path: Path, knowledge: Knowledge, seed: int) -> Iterator[Talk]:
    """Talks as they stand, under the name that the row gives its counsellor, else the file's."""
    for place, row in read_rows(path):
        turns = _turns(place, row)
        if turns[-1].reply is None:
            turns = turns[:-1]
        if not turns:
            raise UsageError(f"{place}: no counsellor turn to judge", hint="leave the row out")
        own, name = _id(place, row), str(row.get("counsellor") or path.stem)
        topic = str(row.get("scene") or row.get("topic") or "unknown")
        yield Talk(
            id=talk_id(seed, name, own),
            kind="given",
            counsellor=name,
            client=str(row.get("post_id") or own),
            post_id=str(row.get("post_id") or own),
            topic=topic,
            severity=str(row.get("severity") or ""),
            modality=str(row.get("modality") or ""),
            turns=graded(knowledge, turns),
            rehearsal=bool(row.get("rehearsal")),
        )


def _turns(place: str, row: dict[str, Any]) -> tuple[Turn, ...]:
    """Client and counsellor in turn. Messages of one speaker in a row are one turn; a system message is left out."""
    spoken: list[tuple[str, str, str]] = []
    if isinstance(row.get("conversation"), list):
        for exchange in row["conversation"]:
            spoken += [
                ("user", str(exchange.get("patient", "")), ""),
                ("assistant", str(exchange.get("counselor_content", "")), str(exchange.get("counselor_think") or "")),
            ]
    elif isinstance(row.get("messages"), list):
        for message in row["messages"]:
            thought = str(message.get("reasoning_content") or "")
            spoken.append((str(message.get("role")), str(message.get("content") or ""), thought))
    elif row.get("text"):
        spoken.append(("user", str(row["text"]), ""))
    else:
        raise UsageError(f"{place}: neither messages nor conversation nor text", hint="see evaluators/README.md")
    turns: list[Turn] = []
    for role, text, channel in spoken:
        if role not in ("user", "assistant") or not text.strip():
            continue
        if role == "user" and (not turns or turns[-1].reply is not None):
            turns.append(Turn(round=len(turns) + 1, client=_numbered(text, turns)))
        elif role == "user":
            turns[-1] = turns[-1].model_copy(update={"client": (*turns[-1].client, *_numbered(text, turns))})
        elif turns:
            said, thought = apart(text, channel)
            if before := turns[-1].reply:
                said, thought = f"{before.text}\n{said.strip()}", f"{before.reasoning}\n{thought}".strip()
            reply = Reply(reasoning=thought, technique="", text=said.strip(), trace="native")
            turns[-1] = turns[-1].model_copy(update={"reply": reply})
    if not turns:
        raise UsageError(f"{place}: the client says nothing", hint="leave the row out")
    return tuple(turns)


def _numbered(text: str, turns: list[Turn]) -> tuple[Sentence, ...]:
    first = turns[-1].client[-1].n + 1 if turns else 1
    return tuple(Sentence(n=n, text=part.strip()) for n, part in enumerate(_ENDS.split(text.strip()), first) if part)


def _id(place: str, row: dict[str, Any]) -> str:
    own = row.get("id") or row.get("post_id")
    if own in (None, ""):
        raise UsageError(f"{place}: no id", hint='write "id": "..." so that counsellors can be paired')
    return str(own)
