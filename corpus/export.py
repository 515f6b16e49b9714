"""Accepted dialogues as chat messages: the rows that a counselling model is trained on.

A row's system message is prompts/roles/counsellor.md, the prompt that a trained model is served with, followed by
spoken words only; each counsellor turn carries its trace as `reasoning_content`. Never plan, verdicts, criteria or
critique. `{crisis_contacts}` stays literal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prompts.library import PromptFile, stored_role
from psyllm.errors import Failure, UsageError
from psyllm.records import Dialogue, Status
from psyllm.runs import Run


def chat_row(dialogue: Dialogue, counsellor: PromptFile) -> dict[str, Any]:
    """One training row: id, messages, and what is needed to trace it back."""
    messages: list[dict[str, str]] = [{"role": "system", "content": counsellor.render("system")}]
    for turn in dialogue.turns:
        if turn.reply is not None:
            messages.append({"role": "user", "content": turn.client_text})
            messages.append(
                {"role": "assistant", "reasoning_content": turn.reply.reasoning, "content": turn.reply.text}
            )
    provenance = dialogue.provenance
    return {
        "id": dialogue.id,
        "post_id": dialogue.post_id,
        "messages": messages,
        "modality": dialogue.plan.modality.chosen if dialogue.plan else "",
        "severity": dialogue.plan.severity if dialogue.plan else "",
        "system_prompt": f"{counsellor.ref.id}@{counsellor.ref.version}#{counsellor.ref.sha256}",
        "source": provenance.source,
        "license": provenance.license,
        "rehearsal": provenance.rehearsal,
    }


def export(run: Run, out: Path, *, include_rehearsal: bool, counsellor: PromptFile | None = None) -> int:
    """Write the rows as JSONL, whole or not at all; returns their number.

    The system message is the counsellor prompt that the run was grown with, unless another is given.

    Raises UsageError for rehearsal output without `include_rehearsal`, an existing file, or nothing to write.
    """
    if out.exists():
        raise UsageError(f"{out} exists", hint="give another --out, or remove it")
    if not out.parent.is_dir():
        raise UsageError(f"folder {out.parent} does not exist", hint=f"mkdir -p {out.parent}")
    if not run.status_counts()[Status.ACCEPTED]:
        raise UsageError(f"{run.folder} has no accepted dialogue", hint=f"`psyllm status {run.folder}` says why")
    counsellor = counsellor or stored_role("counsellor", run.prompt("counsellor")[1])
    partial = out.with_name(f".{out.name}.partial")
    written = 0
    try:
        with partial.open("w", encoding="utf-8") as file:
            for dialogue in run.dialogues(Status.ACCEPTED):
                row = chat_row(dialogue, counsellor)
                if row["rehearsal"] and not include_rehearsal:
                    raise UsageError(
                        f"{run.folder} was made by the rehearsal backend: stand-in words, not training data",
                        hint="add --include-rehearsal to try the format all the same",
                    )
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                written += 1
        partial.rename(out)
    except OSError as error:
        raise Failure("store", f"cannot write {out}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return written
