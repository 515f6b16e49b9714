"""`psyllm eval report`: what an evaluation found, on the terminal and as a page."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.table import Table

from app.screen import REHEARSAL, console, out
from clinical import Knowledge
from prompts.library import Library
from psyllm.errors import UsageError
from psyllm.runs import Run

if TYPE_CHECKING:
    from evaluators.tables import Table as Rows


_OPENS = re.compile(r" (?=\[|\(alpha)")
"""Where a cell may break: before its interval, before the agreement."""


def needs_extra() -> None:
    """Raises UsageError if the packages of the extra `eval` are not installed."""
    missing = [name for name in ("krippendorff", "openpyxl", "pandas", "sklearn", "statsmodels") if not find_spec(name)]
    if missing:
        raise UsageError(f"{', '.join(missing)} is not installed", hint="run: pip install -e '.[eval]'")


def report_command(folder: Path, *, html: bool) -> None:
    """Print leaderboard, safety, judges, markers and warnings. Raises UsageError if there is no finished evaluation."""
    needs_extra()
    from evaluators import report, store, summary, tables

    evaluation = store.read(folder)
    found = summary.summarise(evaluation, store.rubrics_of(evaluation), Knowledge.load(), Library())
    judges = tables.judges(found).of("judge", "rank correlation with the rest", "first place won", "mark")
    for table in (tables.leaderboard(found).turned(), tables.safety(found), judges, tables.markers(found)):
        if table.rows and len(table.head) > 1:
            out.print(_shown(table))
            out.print(table.note, style="dim")
            out.print()
    for line in report.warnings(found):
        out.print(f"! {line}", style="yellow")
    if evaluation.header.rehearsal:
        out.print(REHEARSAL.replace("training", "conclusions"), style="yellow")
    if html:
        with Run(folder) as run:
            page = report.write(found, run.spend(), folder / "report")
        console.print(f"wrote {page}, with figures (SVG, PNG) and tables (LaTeX) beside it", soft_wrap=True)
    else:
        console.print(f"next: psyllm eval report {folder} --html", style="dim", soft_wrap=True)


def _shown(table: Rows) -> Table:
    """As it is where it fits, else with headings and labels folded, else with intervals below their values too."""
    folded = replace(
        table,
        head=tuple(_folded(heading.replace(":", ": "), 14) for heading in table.head),
        rows=tuple((_folded(label, 18), *cells) for label, *cells in table.rows),
    )
    stacked = replace(folded, rows=tuple(tuple(_OPENS.sub("\n", cell) for cell in row) for row in table.rows))
    roomy = out.options.update(width=1000)
    return next(
        (drawn for drawn in map(_drawn, (table, folded)) if out.measure(drawn, options=roomy).maximum <= out.width),
        _drawn(stacked),
    )


def _folded(text: str, width: int) -> str:
    return "\n".join(wrap(text, width))


def _drawn(table: Rows) -> Table:
    shown = Table(title=table.title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for place, heading in enumerate(table.head):
        left = place == 0 or heading == "mark"
        shown.add_column(heading, justify="left" if left else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    return shown
