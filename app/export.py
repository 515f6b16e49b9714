"""`psyllm export`: accepted dialogues as a dataset, what was left out and why; `--check` validates one."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from app.screen import REHEARSAL, console
from clinical import Knowledge
from corpus import splits
from corpus.chat_template import ChatTemplate
from corpus.check import check
from corpus.export import FORMATS, WHOLE, Format, Options, export, manifest_path
from corpus.manifest import Manifest
from corpus.selection import Filters
from corpus.splits import NAMES
from prompts.library import Library
from psyllm.errors import Failure, UsageError
from psyllm.labels import Judgement
from psyllm.reasons import meaning
from psyllm.records import Status
from psyllm.runs import Run

SHOWN = 20
"""Problems listed one by one."""


@dataclass(frozen=True)
class ExportOptions:
    """The command line of `psyllm export`."""

    runs: list[Path]
    out: Path
    format: str
    include_rehearsal: bool
    modalities: list[str]
    models: list[str]
    labels: list[Judgement]
    min_score: int
    held_out: list[Path]
    splits: str | None
    seed: int
    limits: bool
    balance: bool
    fill_contacts: bool
    prompts: Path | None
    chat_template: Path | None


def export_command(o: ExportOptions) -> None:
    """Write the dataset and say what is in it. Raises UsageError or Failure; nothing is half-written."""
    format_ = _format(o.format)
    if o.splits and o.out.suffix in (".json", ".jsonl", ".parquet"):
        raise UsageError(
            f"--out {o.out} names a file, and --splits writes several", hint=f"--out {o.out.with_suffix('')}"
        )
    library = Library(o.prompts) if o.prompts else None
    knowledge = Knowledge.load()
    runs = [Run(folder) for folder in o.runs]
    try:
        options = Options(
            format=format_,
            include_rehearsal=o.include_rehearsal,
            filters=Filters(frozenset(o.modalities), frozenset(o.models), frozenset(o.labels), o.min_score),
            held_out=tuple(o.held_out),
            limits=o.limits,
            shares=_wanted(runs) if o.balance else None,
            splits=splits.parse(o.splits) if o.splits else None,
            seed=o.seed,
            contacts=knowledge.contacts() if o.fill_contacts else None,
            unverified_contacts=knowledge.unverified_contacts(),
            counsellor=library.roles["counsellor"] if library else None,
            chat_template=ChatTemplate.read(o.chat_template) if o.chat_template else None,
        )
        total = 2 * sum(run.status_counts()[Status.ACCEPTED] for run in runs)
        columns = TextColumn("[bold]reading, then writing"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
            task = progress.add_task("", total=total)
            manifest = export(runs, o.out, options, lambda: progress.advance(task))
    except sqlite3.Error as error:
        raise Failure(
            "store",
            f"a journal cannot be read, or a temporary file not be written: {error}",
            hint="SQLite sorts in TMPDIR: is there room?",
        ) from error
    finally:
        for run in runs:
            run.close()
    _say(manifest, o.out)


def _format(name: str) -> Format:
    for known in FORMATS:
        if name == known:
            return known
    raise UsageError(f"unknown format {name!r}", hint=f"known: {', '.join(FORMATS)}")


def _wanted(runs: list[Run]) -> dict[str, float]:
    """The shares of modalities that the runs were grown for. Raises UsageError if they differ."""
    wanted = [run.wanted_shares() for run in runs]
    if any(shares != wanted[0] for shares in wanted) or not wanted[0]:
        raise UsageError("the runs were grown for different shares of modalities", hint="export them one by one")
    return wanted[0]


def _say(manifest: Manifest, out: Path) -> None:
    console.print(f"{manifest.exported} dialogues written to {out}")
    for kind, rows in manifest.rows.items():
        splits = (
            "" if WHOLE in rows else f" ({', '.join(f'{split} {rows[split]}' for split in NAMES if split in rows)})"
        )
        console.print(f"  {sum(rows.values())} {kind} rows{splits}")
    if manifest.left_out:
        console.print(f"{sum(manifest.left_out.values())} left out:")
        table = Table.grid(padding=(0, 2))
        for code, count in manifest.left_out.items():
            table.add_row(f"  {count}", code, meaning(code))
        console.print(table)
    modes = manifest.table("mode")
    if raised := {mode: count for mode, count in modes.items() if mode != "ordinary"}:
        console.print(f"in danger: {', '.join(f'{mode} {count}' for mode, count in sorted(raised.items()))}")
    console.print(f"counts and hashes: {manifest_path(out)}", style="dim")
    if manifest.crisis_contacts == "filled" and manifest.unverified_contacts:
        console.print(
            f"filled in crisis contacts that nobody has checked: {', '.join(manifest.unverified_contacts)}",
            style="yellow",
        )
    if manifest.rehearsal:
        console.print(REHEARSAL, style="yellow")


def check_command(path: Path, chat_template: Path | None) -> None:
    """Say what is wrong with a dataset; exit 1 on any problem. Raises UsageError if it cannot be read."""
    checked = check(path, ChatTemplate.read(chat_template) if chat_template else None)
    console.print(f"{path}: {', '.join(f'{count} {shape} rows' for shape, count in checked.rows.items())}")
    for place, what in checked.problems[:SHOWN]:
        console.print(f"{place}: {what}", style="red")
    if len(checked.problems) > SHOWN:
        console.print(f"... and {len(checked.problems) - SHOWN} more")
    if checked.problems:
        raise typer.Exit(1)
    console.print("no problem found", style="green")
