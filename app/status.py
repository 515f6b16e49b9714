"""`psyllm status`: the funnel of a run, why dialogues were not accepted, and what each role cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.bar import Bar
from rich.table import Table

from app.machine import show_json
from app.screen import COLOURS, REHEARSAL, dollars, out, tokens
from clinical import Knowledge
from psyllm.reasons import meaning
from psyllm.records import Status
from psyllm.runs import Coverage, Run


def failed_command(folder: Path, *, as_json: bool) -> None:
    """Print the posts whose dialogue failed, and why. Raises UsageError if there is no run."""
    with Run(folder) as run:
        failed: list[dict[str, Any]] = [
            {"post": d.post_id, "dialogue": d.id, "round": r.round, "reason": r.code, "why": r.detail}
            for d in run.dialogues(Status.FAILED)
            for r in d.reasons
        ]
    if as_json:
        show_json(failed)
        return
    if not failed:
        out.print(f"no dialogue of {folder} has failed")
        return
    table = Table(title=f"{folder}: failed", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("post", "dialogue", "round", "reason", "why"):
        table.add_column(
            heading, justify="right" if heading == "round" else "left", overflow="fold", min_width=len(heading)
        )
    for row in failed:
        table.add_row(row["post"], row["dialogue"][:8], str(row["round"]), row["reason"], row["why"])
    out.print(table)
    out.print("the command that grew them tries them again with --retry-failed", style="dim")


def status_command(folder: Path, *, as_json: bool) -> None:
    """Print the tables. Raises UsageError if there is no run."""
    with Run(folder) as run:
        if as_json:
            show_json(_facts(run))
            return
        counts = run.status_counts()
        out.print(_funnel(folder, run, counts))
        out.print()
        if reasons := run.reasons():
            out.print(_reasons(reasons))
            out.print()
        coverage = run.coverage()
        if any(row.chosen for row in coverage) and not run.evaluation:
            shares = Table.grid(padding=(0, 6))
            modes = run.accepted_by_mode()
            shares.add_row(_coverage(coverage), _shares("response mode", modes) if modes else "")
            out.print(shares)
            out.print()
        if spend := run.spend():
            table = Table(title="calls by role", title_justify="left", box=None, header_style="bold", pad_edge=False)
            for heading in ("role", "calls", "tokens in", "cached", "out", "cost", "s/call", "misfits", "retried"):
                table.add_column(heading, justify="left" if heading == "role" else "right", no_wrap=True)
            for s in spend:
                share = f"{s.cached_tokens / s.prompt_tokens:.0%}" if s.prompt_tokens else "-"
                table.add_row(
                    s.role,
                    str(s.calls),
                    tokens(s.prompt_tokens),
                    share,
                    tokens(s.completion_tokens),
                    dollars(s.cost_usd),
                    f"{s.seconds / s.calls:.2f}",
                    str(s.misfits),
                    str(s.retried),
                )
            out.print(table)
        if run.evaluation:
            out.print(f"\nwhat came of it: psyllm eval report {folder}", style="dim", soft_wrap=True)
        if unverified := Knowledge.load().unverified_contacts():
            out.print(
                f"crisis contacts nobody has checked (clinical/contacts.yaml): {', '.join(unverified)}", style="yellow"
            )
        if run.rehearsal():
            out.print(REHEARSAL, style="yellow")


def _facts(run: Run) -> dict[str, object]:
    return {
        "posts": run.post_count(),
        "dialogues": run.status_counts(),
        "reasons": [dict(zip(("status", "reason", "blames", "dialogues"), row, strict=True)) for row in run.reasons()],
        "modalities": run.coverage(),
        "modes": [dict(zip(("mode", "dialogues", "accepted"), row, strict=True)) for row in run.accepted_by_mode()],
        "roles": run.spend(),
        "rehearsal": run.rehearsal(),
    }


def _funnel(folder: Path, run: Run, counts: dict[Status, int]) -> Table:
    total, title = run.post_count(), f"{folder}: {run.post_count()} posts"
    shown = [status for status in Status if counts[status] or not status.rare]
    if run.evaluation:
        total, title = sum(counts.values()), f"{folder}: {sum(counts.values())} talks of an evaluation"
        shown = [Status.EVALUATED, Status.FAILED]
    table = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    rows = [(status.replace("_", " "), counts[status], COLOURS[status]) for status in shown]
    if not run.evaluation:
        rows.append(("not done", max(total - sum(counts.values()), 0), "white"))
    for name, count, colour in rows:
        table.add_row(name, str(count), Bar(max(total, 1), 0, count, width=40, color=colour))
    return table


def _reasons(reasons: list[tuple[str, str, str, int]]) -> Table:
    table = Table(title="why not accepted", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("dialogues", "reason", "blames", "meaning"):
        table.add_column(
            heading, justify="right" if heading == "dialogues" else "left", style="dim" if heading == "meaning" else ""
        )
    for _, code, role, count in reasons:
        table.add_row(str(count), code, role, meaning(code))
    return table


def _coverage(rows: list[Coverage]) -> Table:
    """Shares of what was drawn and accepted beside the wanted ones; +- is the standard error of a fair draw."""
    table = Table(title="by modality", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("modality", "wanted", "drawn", "", "accepted", "", "rounds", "in safety"):
        table.add_column(heading, justify="left" if heading == "modality" else "right")
    drawn, accepted = sum(row.drawn for row in rows), sum(row.accepted for row in rows)
    for row in sorted(rows, key=lambda row: (-row.wanted, -row.accepted, row.modality)):
        table.add_row(
            row.modality,
            f"{row.wanted:.0%}",
            str(row.drawn),
            _share(row.drawn, drawn, row.wanted),
            str(row.accepted),
            _share(row.accepted, accepted, row.wanted),
            str(row.rounds),
            str(row.safety_rounds),
        )
    return table


def _share(count: int, of: int, wanted: float) -> str:
    return f"{count / of:.0%} ±{math.sqrt(wanted * (1 - wanted) / of):.0%}" if of else "-"


def _shares(name: str, rows: list[tuple[str, int, int]]) -> Table:
    table = Table(title=f"by {name}", title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column(name)
    table.add_column("dialogues", justify="right")
    table.add_column("accepted", justify="right")
    for label, planned, accepted in rows:
        table.add_row(label, str(planned), f"{accepted} ({accepted / planned:.0%})")
    return table
