"""Runs made by hand: dialogues of known words in a real journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from prompts.library import Library
from psyllm.journal import Journal
from psyllm.records import (
    Critique,
    Decision,
    Dialogue,
    Mode,
    Post,
    Provenance,
    Reason,
    Reply,
    ReplyDraft,
    Risk,
    Sentence,
    Severity,
    Status,
    Turn,
)
from tests.records import plan

WORDS = ("river", "lamp", "cup", "window", "tuesday", "phone", "kitchen", "train", "letter", "garden", "coat")


def said(number: int, length: int = 30) -> str:
    """Words that belong to this number alone."""
    return " ".join(f"{WORDS[(number + n * 7) % len(WORDS)]}{number}x{n}" for n in range(length))


def critique(decision: Decision, *codes: str, score: int = 4) -> Critique:
    reasons = tuple(Reason(code=code, role="therapist", round=1) for code in codes)
    return Critique(
        target="therapist",
        by="model",
        decision=decision,
        scores={"safety": score},
        reasons=reasons,
        guidance="SECRET GUIDANCE",
    )


def turn(number: int, round_: int = 1, *, mode: Mode = "ordinary", draft: str = "", score: int = 4) -> Turn:
    """A turn whose words are drawn from a number; with `draft` one that was sent back once."""
    rejected = ReplyDraft(
        reply=Reply(reasoning=f"bad thought {number}", technique="x", text=draft or "-"),
        critique=critique(Decision.REVISE, "advice_pile_up"),
    )
    return Turn(
        round=round_,
        client=(Sentence(n=1, text=said(number * 10 + round_)), Sentence(n=2, text="Second.")),
        mode=mode,
        risks=() if mode == "ordinary" else (Risk(domain="suicide", level=4, mode=mode),),
        reply=Reply(reasoning=f"thought {number}.{round_}", technique="x", text=said(5000 + number * 10 + round_)),
        critique=critique(Decision.ACCEPT, score=score),
        drafts=(rejected,) if draft else (),
    )


def dialogue(
    number: int,
    *turns: Turn,
    modality: str = "cbt",
    severity: Severity = "mild",
    post: str = "",
    model: str = "big",
    rehearsal: bool = False,
    forked_from: str | None = None,
) -> Dialogue:
    return Dialogue(
        id=f"d{number}",
        post_id=post or f"p{number}",
        status=Status.ACCEPTED,
        plan=plan(modality, severity),
        turns=turns or (turn(number),),
        forked_from=forked_from,
        provenance=Provenance(
            models={"therapist": model, "patient": "small"},
            seed=0,
            software_version="0",
            source="forum | <b>x</b>",
            license="CC0-1.0",
            rehearsal=rehearsal,
        ),
    )


Grown = Callable[..., Path]


@pytest.fixture
def run_of(tmp_path: Path) -> Grown:
    """Write dialogues into a run folder; posts are made up unless given."""

    def make(dialogues: Sequence[Dialogue], name: str = "run", posts: dict[str, str] | None = None) -> Path:
        counsellor = Library().roles["counsellor"]
        settings = {
            "grow.coverage": {"cbt": 1, "act": 1},
            "prompts.modalities.cbt": "0",
            "prompts.roles.counsellor": f"{counsellor.ref.version}#{counsellor.ref.sha256}",
        }
        journal = Journal.open(tmp_path / name, settings, "0")
        journal.add_prompts([(counsellor.ref, counsellor.path.read_text(encoding="utf-8"))])
        ids = list(dict.fromkeys(d.post_id for d in dialogues))
        texts = {post_id: said(9000 + 31 * n) for n, post_id in enumerate(ids)} | (posts or {})
        journal.add_posts((n, Post(id=post_id, text=texts[post_id])) for n, post_id in enumerate(ids))
        for each in dialogues:
            journal.finish(each)
        journal.close()
        return tmp_path / name

    return make
