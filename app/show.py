"""`psyllm trace show`: one dialogue for reading, with each counsellor turn's reasoning and the engine's verdicts."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.screen import REHEARSAL, out
from prompts.blocks import SYSTEM_NAMES
from psyllm.errors import UsageError
from psyllm.records import Dialogue, Status, Turn
from psyllm.runs import Run


def show_command(folder: Path, short_id: str | None) -> None:
    """Print one dialogue. Raises UsageError if none matches."""
    with Run(folder) as run:
        dialogue = run.dialogue(short_id) if short_id else _example(run)
    out.print(render(dialogue))


def _example(run: Run) -> Dialogue:
    """The accepted dialogue with most verdicts and repairs to look at."""
    best = max(
        run.dialogues(Status.ACCEPTED),
        key=lambda d: (sum(len(t.drafts) for t in d.turns), sum(len(t.findings) for t in d.turns)),
        default=None,
    )
    if best is None:
        raise UsageError(f"{run.folder} has no accepted dialogue to show", hint="name one by its id")
    return best


def render(dialogue: Dialogue) -> RenderableType:
    """A dialogue as rich text. All words are data: markup in them stays text."""
    parts: list[RenderableType] = [_head(dialogue)]
    for turn in dialogue.turns:
        parts += _turn(turn)
    if dialogue.provenance.rehearsal:
        parts.append(Text(REHEARSAL, style="yellow"))
    return Group(*parts)


def _head(dialogue: Dialogue) -> RenderableType:
    colour = {"accepted": "green", "rejected": "red"}.get(dialogue.status, "yellow")
    lines = [Text.assemble((dialogue.status.replace("_", " "), f"bold {colour}"), f"   post {dialogue.post_id}")]
    lines += [Text(f"{r.code} ({r.role}, round {r.round}): {r.detail}", style=colour) for r in dialogue.reasons]
    if plan := dialogue.plan:
        lines.append(Text(f"{plan.presenting_problem}"))
        lines.append(
            Text(
                f"{plan.emotion.primary} {plan.emotion.intensity}/10   {plan.scene.category}   {plan.severity}   "
                f"modality {plan.modality.chosen}",
                style="dim",
            )
        )
        lines += [Text(f"not {r.id}: {r.why}", style="dim") for r in plan.modality.rejected]
    return Panel(Group(*lines), title=escape(f"dialogue {dialogue.id}"), title_align="left")


def _turn(turn: Turn) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(f"\nround {turn.round}", style="bold")]
    for sentence in turn.client:
        parts.append(Text.assemble((f"s{sentence.n:<3}", "dim"), (sentence.text, "cyan")))
    if turn.findings or turn.mode != "ordinary":
        parts.append(Padding(_verdicts(turn), (1, 0, 0, 4)))
    for draft in turn.drafts:
        codes = ", ".join(reason.code for reason in draft.critique.reasons)
        parts.append(Padding(Text(f"sent back ({codes}): {draft.reply.text}", style="red"), (1, 0, 0, 4)))
    if reply := turn.reply:
        parts.append(Padding(Text(reply.reasoning, style="italic dim"), (1, 0, 0, 4)))
        parts.append(Padding(Text.assemble((f"[{reply.technique}] ", "magenta"), (reply.text, "green")), (1, 0, 0, 0)))
    if turn.critique and turn.critique.scores:
        scores = "  ".join(f"{name} {score}" for name, score in turn.critique.scores.items())
        parts.append(Text(f"critic: {turn.critique.decision}   {scores}", style="dim"))
    return parts


def _verdicts(turn: Turn) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("checked by the engine", "system", "verdict", "why"):
        table.add_column(heading)
    colours = {"met": "red", "provisional": "yellow", "insufficient": "dim", "contradicted": "blue"}
    for f in turn.findings:
        table.add_row(f.name, SYSTEM_NAMES[f.system], Text(f.verdict, style=colours[f.verdict]), f.why)
    for risk in turn.risks:
        if risk.level:
            table.add_row(f"risk: {risk.domain}", "", f"level {risk.level}", f"mode {risk.mode}")
    return table
