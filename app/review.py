"""`psyllm review`: what a person says of one dialogue, kept with the run."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from app.screen import console, out
from psyllm.errors import UsageError
from psyllm.labels import Judgement, Label, Labels
from psyllm.records import Dialogue, Status
from psyllm.runs import Run


def review_command(folder: Path, short_id: str, verdict: str, comment: str, by: str, number: int) -> None:
    """Keep the label. Raises NoMatch for an unknown dialogue, UsageError for a label that cannot be kept."""
    with Run(folder) as run:
        dialogue = run.dialogue(short_id)
    label = checked_label(dialogue, verdict, comment, by, number)
    Labels(folder).add(label)
    out.print(f"{dialogue.id}: {verdict}")
    if dialogue.status is Status.IN_REVIEW and verdict != "flag":
        console.print(
            "the run goes on with it while `psyllm grow --review` runs, or when it is started again", soft_wrap=True
        )


def checked_label(dialogue: Dialogue, verdict: str, comment: str, by: str, number: int = 0) -> Label:
    """The label as it may be kept. Raises UsageError naming what is wrong with it."""
    known = get_args(Judgement)
    if verdict not in known:
        raise UsageError(f"verdict {verdict!r} does not exist", hint=f"known: {', '.join(known)}")
    if verdict == "revise":
        if dialogue.status is not Status.IN_REVIEW:
            raise UsageError(
                f"{dialogue.id} is {dialogue.status.replace('_', ' ')} and waits for nobody",
                hint="`psyllm trace fork` goes on from any step of a finished dialogue",
            )
        if not comment.strip():
            raise UsageError("revise needs a comment", hint="say what the counsellor is to change")
        if number > len(dialogue.turns):
            raise UsageError(f"{dialogue.id} has no round {number}", hint=f"rounds are 1 to {len(dialogue.turns)}")
    return Label.model_validate(
        {
            "dialogue_id": dialogue.id,
            "verdict": verdict,
            "comment": comment.strip(),
            "round": number if verdict == "revise" else 0,
            "reviewer": by.strip(),
        }
    )
