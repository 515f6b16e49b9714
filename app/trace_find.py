"""`psyllm trace ls`, `reasons`, `grep`: lists, counts and search over a whole run."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import get_args

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from app.machine import show_json
from app.screen import COLOURS, console, dollars, out, tokens
from psyllm.errors import NoMatch, UsageError
from psyllm.reasons import meaning, reason_codes
from psyllm.records import ROLES, Severity, Status
from psyllm.runs import Run
from psyllm.runs.find import END, START, Filter, Hit, Listed, count, find, reason_counts, search
from psyllm.runs.index import Index

WIDE = 140
"""Columns of a terminal that shows everything of a list."""
LONG = 5000
"""Rows to take in from which on a progress bar is shown."""


def ls_command(folder: Path, wanted: Filter, *, limit: int, as_json: bool) -> None:
    """Print the dialogues that match. Raises NoMatch if there is none."""
    with indexed(folder, words=bool(wanted.words)) as index:
        rows = find(index, wanted, limit=limit)
        total = count(index, wanted)
    if as_json:
        show_json(rows)
    elif rows:
        out.print(_list(rows))
        if total > len(rows):
            out.print(f"{len(rows)} of {total}; --limit {total} lists all", style="dim")
    if not rows:
        raise NoMatch(f"no dialogue of {folder} matches", hint=f"psyllm trace ls {folder} lists all")


def reasons_command(folder: Path, wanted: Filter, *, as_json: bool) -> None:
    """Print reasons by modality and prompt version. Raises NoMatch if no dialogue has one."""
    with indexed(folder) as index:
        counts = reason_counts(index, wanted)
    if as_json:
        show_json(counts)
    elif counts:
        table = Table(box=None, header_style="bold", pad_edge=False)
        wide = out.width >= WIDE
        for heading in ("n", "of", "reason", "blames", "modality", "prompts", *(["meaning"] if wide else [])):
            number = heading in ("n", "of")
            table.add_column(heading, justify="right" if number else "left", no_wrap=wide and heading != "meaning")
        for n in counts:
            prompts = ", ".join(prompt.partition("#")[0] for prompt in n.prompts)
            share = Text(str(n.of), style="dim")
            more = (Text(meaning(n.code), "dim"),) if wide else ()
            table.add_row(str(n.dialogues), share, n.code, n.role, n.modality, prompts, *more)
        out.print(table)
    if not counts:
        raise NoMatch(
            f"nothing that matches in {folder} ended for a reason",
            hint=f"psyllm status {folder} shows how it stands",
        )


def grep_command(folder: Path, pattern: str, role: str, *, limit: int, as_json: bool) -> None:
    """Print where the words are said, latest first. Raises NoMatch if nowhere, UsageError for no word or role."""
    _known("--role", role, (*ROLES, "post"))
    with indexed(folder, words=True) as index:
        hits = search(index, pattern, role=role, limit=limit)
    if as_json:
        show_json([_plain(hit) for hit in hits])
    elif hits:
        for hit in hits:
            out.print(_hit(hit), soft_wrap=True)
        if len(hits) == limit:
            out.print(f"the latest {limit}; --limit N shows more", style="dim")
    if not hits:
        where = f"{role} of {folder}" if role else folder
        raise NoMatch(
            f"nobody says {pattern!r} in {where}", hint="all words must occur; try fewer, or a beginning: egg*"
        )


@contextmanager
def indexed(folder: Path, *, words: bool = False) -> Iterator[Index]:
    """The index of a run, up to date; a progress bar where that takes long."""
    columns = TextColumn("indexing the run"), BarColumn(), TimeRemainingColumn()
    with Run(folder) as run, Index(run) as index:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=None, visible=False)
            index.refresh(
                words=words,
                progress=lambda done, total: bar.update(task, completed=done, total=total, visible=total >= LONG),
            )
        yield index


def filter_of(
    status: str = "",
    reason: str = "",
    modality: str = "",
    severity: str = "",
    role: str = "",
    model: str = "",
    prompt: str = "",
    since: str = "",
    words: str = "",
) -> Filter:
    """A filter from the command line. Raises UsageError for a status, reason, severity or role that does not exist."""
    status = status.replace(" ", "_").replace("-", "_")
    codes = {code for group in reason_codes().values() for code in group}
    _known("--status", status, tuple(Status))
    _known("--reason", reason, tuple(sorted(codes)))
    _known("--severity", severity, get_args(Severity))
    _known("--role", role, (*ROLES, "dialogue", "run"))
    return Filter(status, reason, modality, severity, role, model, prompt, _unix_time(since) if since else 0.0, words)


def _known(option: str, value: str, known: tuple[str, ...]) -> None:
    if value and value not in known:
        raise UsageError(f"{option} {value!r} does not exist", hint=f"known: {', '.join(known)}")


def _unix_time(since: str) -> float:
    """30m, 2h and 1d ago, or an ISO date or time of this machine's zone."""
    if found := re.fullmatch(r"(\d+)([mhd])", since):
        return time.time() - int(found[1]) * {"m": 60, "h": 3600, "d": 86400}[found[2]]
    try:
        return datetime.fromisoformat(since).timestamp()
    except ValueError:
        raise UsageError(f"--since {since!r} is no time", hint="for example 30m, 2h, 1d or 2026-11-23T14:00") from None


def _list(rows: tuple[Listed, ...]) -> Table:
    """A line a dialogue; on a narrow terminal without what it took."""
    wide = out.width >= WIDE
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("id", no_wrap=True, min_width=8)
    table.add_column("post", no_wrap=True, max_width=None if wide else 18)
    for heading in ("status", "modality"):
        table.add_column(heading, no_wrap=True, min_width=8)
    for heading in ("severity", "mode") if wide else ():
        table.add_column(heading, no_wrap=True)
    for heading in ("rounds", "calls", "tokens", "cost") if wide else ():
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why not", overflow="fold")
    if any(row.forked_from for row in rows):
        table.add_column("fork of", no_wrap=True, min_width=8)
    for row in rows:
        status = Text(row.status.replace("_", " "), style=COLOURS[row.status])
        cells: list[str | Text] = [row.id[:8], row.post_id, status, row.modality]
        cells += [row.severity, row.mode] if wide else []
        if wide:
            spent = tokens(row.prompt_tokens + row.completion_tokens)
            cells += [str(row.rounds)]
            cells += [str(row.calls), spent, dollars(row.cost_usd)] if row.calls else ["0", "", ""]
        cells += [Text(", ".join(row.reasons), style=COLOURS[row.status])]
        table.add_row(*cells, *((row.forked_from[:8],) if row.forked_from else ()))
    return table


def _hit(hit: Hit) -> Text:
    place = hit.dialogue_id[:8] + ("" if hit.position is None else f" step {hit.position}")
    line = Text.assemble((f"{place:<17}", "bold"), (f"{hit.role:<14}", "magenta"))
    for n, part in enumerate(re.split(f"[{START}{END}]", hit.snippet)):
        line.append(part, style="bold yellow" if n % 2 else "")
    return line


def _plain(hit: Hit) -> dict[str, object]:
    words = re.findall(f"{START}(.*?){END}", hit.snippet)
    text = hit.snippet.replace(START, "").replace(END, "")
    return {
        "dialogue": hit.dialogue_id,
        "step": hit.position,
        "path": hit.path,
        "role": hit.role,
        "snippet": text,
        "found": words,
    }
