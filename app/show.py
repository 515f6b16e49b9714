"""`psyllm trace show`: one dialogue for reading, with each counsellor turn's reasoning and the engine's verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.machine import show_json
from app.screen import COLOURS, REHEARSAL, dollars, out, tokens
from prompts.blocks import SYSTEM_NAMES
from psyllm.errors import UsageError
from psyllm.records import Cleared, Critique, Dialogue, Evidence, Fact, Refused, Risk, Status, Turn
from psyllm.runs import Run, StoredCall
from psyllm.runs.steps import totals, tree


def show_command(folder: Path, short_id: str | None, step: int | None, *, as_json: bool = False) -> None:
    """Print one dialogue and its calls, or one call as sent and answered. Raises UsageError if there is none such."""
    with Run(folder) as run:
        dialogue = run.dialogue(short_id) if short_id else _example(run)
        calls = list(run.calls(dialogue.id))
    if step is not None and step >= len(calls):
        raise UsageError(f"dialogue {dialogue.id} has no step {step}", hint=f"steps are 0 to {len(calls) - 1}")
    if as_json:
        show_json(calls[step] if step is not None else {"dialogue": dialogue, "calls": calls})
    elif step is not None:
        out.print(render_call(calls[step]))
    else:
        out.print(render(dialogue))
        out.print(render_calls(calls))


def render_calls(calls: Sequence[StoredCall]) -> RenderableType:
    """The tree of rounds, nodes and calls, with what each took."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("step", "calls", "role", "model", "in", "cached", "out", "s", "cost", ""):
        number = heading in ("step", "in", "cached", "out", "s", "cost")
        table.add_column(heading, justify="right" if number else "left", no_wrap=heading != "")
    rounds: set[int] = set()
    for node in tree(calls):
        for call in node.calls:
            lead = ("plan" if not node.round else f"round {node.round}") if node.round not in rounds else ""
            rounds.add(node.round)
            again = f" attempt {node.attempt + 1}" if node.attempt and call is node.calls[0] else ""
            own = f"{node.name}{again}" if call is node.calls[0] else "  corrected"
            name = Text.assemble((f"{lead:<9}", "bold"), own)
            notes = [*call.retries, *([f"did not fit: {call.error}"] if call.error else [])]
            spent = map(tokens, (call.prompt_tokens, call.cached_tokens, call.completion_tokens))
            took = (f"{call.seconds:.2f}", dollars(call.cost_usd))
            table.add_row(
                str(call.position), name, call.role, call.model, *spent, *took, Text("; ".join(notes), "yellow")
            )
    sums = totals(calls)
    footer = (
        f"{sums.calls} calls, {tokens(sums.prompt_tokens)} tokens in, {tokens(sums.completion_tokens)} out, "
        f"{dollars(sums.cost_usd)}, {sums.seconds:.1f} s, {sums.retries} retries; --step N shows one"
    )
    return Group(Text(), table, Text(footer, style="dim"))


def render_call(call: StoredCall) -> RenderableType:
    """One call, byte for byte: messages, reply, reasoning, and what it took."""
    head = f"step {call.position}   {call.path}   {call.role}   {call.model}   {', '.join(call.prompts)}"
    tokens = f"{call.prompt_tokens} tokens in, {call.cached_tokens} of it cached, {call.completion_tokens} out"
    parts = [Text(head, style="bold"), Text(f"{tokens}   {call.seconds:.2f} s   {dollars(call.cost_usd)}", style="dim")]
    parts += [Text(f"retried: {trouble}", style="yellow") for trouble in call.retries]
    for role, text in call.messages:
        parts += [Text(f"\n{role}", style="magenta"), Text(text)]
    for name, text in (("reasoning", call.reasoning), ("reply", call.reply), ("error", call.error)):
        if text:
            parts += [Text(f"\n{name}", style="magenta"), Text(text, style="red" if name == "error" else "green")]
    return Group(*parts)


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
    colour = COLOURS[dialogue.status]
    lines = [Text.assemble((dialogue.status.replace("_", " "), f"bold {colour}"), f"   post {dialogue.post_id}")]
    if dialogue.forked_from:
        lines.append(Text(f"fork of {dialogue.forked_from}", style="magenta"))
    lines += [Text(f"{r.code} ({r.role}, round {r.round}): {r.detail}", style=colour) for r in dialogue.reasons]
    if dialogue.status is Status.EVALUATED:
        lines.append(Text(f"counsellor {dialogue.provenance.models['therapist']}"))
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
    for sent_back in turn.client_drafts:
        parts += _sent_back(" ".join(sent_back.sentences), sent_back.critique)
    for sentence in turn.client:
        parts.append(Text.assemble((f"s{sentence.n:<3}", "dim"), (sentence.text, "cyan")))
    if turn.findings or any(risk.level or risk.cleared or risk.refused for risk in turn.risks):
        parts.append(Padding(_verdicts(turn), (1, 0, 0, 4)))
    for drop in turn.dropped:
        parts.append(
            Padding(Text(f"not counted ({drop.gate}): {_claim(drop.claim)}: {drop.why}", style="dim"), (0, 0, 0, 4))
        )
    for draft in turn.drafts:
        parts += _sent_back(draft.reply.text, draft.critique)
    if reply := turn.reply:
        technique = f"[{reply.technique}] " if reply.technique else ""
        if reply.reasoning:
            parts.append(Padding(Text(reply.reasoning, style="italic dim"), (1, 0, 0, 4)))
        parts.append(Padding(Text.assemble((technique, "magenta"), (reply.text, "green")), (1, 0, 0, 0)))
    if turn.critique and turn.critique.scores:
        scores = "  ".join(f"{name} {score}" for name, score in turn.critique.scores.items())
        parts.append(Text(f"critic: {turn.critique.decision}   {scores}", style="dim"))
    return parts


def _claim(claim: Evidence | Fact) -> str:
    if isinstance(claim, Evidence):
        return f"{claim.disorder}.{claim.criterion} {claim.polarity} s{claim.sentence}"
    return f"{claim.name} = {claim.value} s{claim.sentence}"


def _sent_back(words: str, critique: Critique) -> list[RenderableType]:
    codes = ", ".join(reason.code for reason in critique.reasons)
    why = Text(f"sent back by {critique.by}{f' ({codes})' if codes else ''}: {critique.guidance}", style="yellow")
    return [Padding(Text(words, style="red"), (1, 0, 0, 4)), Padding(why, (0, 0, 0, 4))]


def _verdicts(turn: Turn) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("checked by the engine", "system", "verdict", "why"):
        table.add_column(heading)
    colours = {"met": "red", "provisional": "yellow", "insufficient": "dim", "contradicted": "blue"}
    for f in turn.findings:
        table.add_row(f.name, SYSTEM_NAMES[f.system], Text(f.verdict, style=colours[f.verdict]), f.why)
    for risk in turn.risks:
        if risk.level or risk.cleared or risk.refused:
            table.add_row(f"risk: {risk.domain}", "", f"level {risk.level}", "\n".join(_danger(risk)))
    return table


def _danger(risk: Risk) -> list[str]:
    """The mode, and what the second reader took out of the risk or wanted to."""
    cleared = [f's{c.sentence} cleared from level {c.level} as {_kind(c)}: "{c.quote}"' for c in risk.cleared]
    refused = [f's{r.sentence} not cleared as {_kind(r)}, {r.why}: "{r.quote}"' for r in risk.refused]
    return [f"mode {risk.mode}", *cleared, *refused]


def _kind(lowered: Cleared | Refused) -> str:
    return lowered.kind.replace("_", " ")
