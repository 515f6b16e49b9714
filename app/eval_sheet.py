"""`psyllm eval sheet` and `psyllm eval judge-check`: people rate, and judges are measured against them."""

from __future__ import annotations

import math
from pathlib import Path

from rich.table import Table

from app.eval_report import needs_extra
from app.screen import console, out
from psyllm.errors import UsageError


def sheet_command(folder: Path, file: Path, *, items: tuple[str, ...], clients: int | None, seed: int) -> None:
    """Write a blinded sheet and its key. Raises UsageError for an unknown item or an existing file."""
    needs_extra()
    from evaluators import sheets, store
    from evaluators.rubric import Rubric

    evaluation = store.read(folder)
    rubrics = store.rubrics_of(evaluation)
    known = {item.id for rubric in rubrics for item in rubric.matter.items}
    if unknown := set(items) - known:
        raise UsageError(f"no item {', '.join(sorted(unknown))}", hint=f"items here: {', '.join(sorted(known))}")
    chosen = [
        Rubric(r.path, r.matter.model_copy(update={"items": kept}), r.texts, r.sha256)
        for r in rubrics
        if (kept := tuple(item for item in r.matter.items if not items or item.id in items))
    ]
    talks = [talk for talk in evaluation.talks if talk.kind != "safety"]
    rows = sheets.rows(talks, chosen, clients, evaluation.header.moments, seed)
    if not rows:
        raise UsageError(f"{folder} has no talk to rate", hint="psyllm eval run makes them")
    key = sheets.write(file, rows)
    console.print(f"wrote {file}: {len(rows)} rows of {len({row.talk.id for row in rows})} talks", soft_wrap=True)
    console.print(f"wrote {key}: keep it from the raters", soft_wrap=True)
    console.print(
        f"give each rater a copy of their own, then: psyllm eval judge-check {folder} RATER.csv ...",
        style="dim",
        soft_wrap=True,
    )


def judge_check_command(folder: Path, files: tuple[Path, ...], key: Path | None) -> None:
    """Print how the panel stands to people, item by item, and which items to trust."""
    needs_extra()
    from evaluators import judge_check, sheets, store
    from evaluators.tables import interval, number, percent

    evaluation = store.read(folder)
    rubrics = store.rubrics_of(evaluation)
    people = [rating for file in files for rating in sheets.read(file, key)]
    mine = {(r.talk, r.item, r.round) for r in people}
    panel = [r for r in evaluation.ratings if (r.talk, r.item, r.round) in mine]
    if not panel:
        raise UsageError(f"the sheets rate no talk of {folder}", hint="are sheet and evaluation the same?")
    names = {rubric.id: rubric.matter.name for rubric in rubrics}
    table = Table(
        title=f"{len({r.judge for r in panel})} judges against {len(files)} rater(s)",
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for heading in ("item", "n", "people", "panel", "kappa", "bias", "within 1", "advice"):
        left = heading in ("item", "advice")
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading == "panel")
    found = judge_check.check(people, panel, rubrics, evaluation.header.seed)
    for one in found:
        colour = "green" if one.advice.startswith("trust") else "red" if one.advice.startswith("do not") else "yellow"
        table.add_row(
            f"  {one.item}" if one.item else names[one.rubric],
            str(one.n),
            number(one.people.value),
            interval(one.panel),
            number(one.kappa),
            "-" if math.isnan(one.bias.value) else f"{one.bias.value:+.2f}",
            percent(one.within_one),
            one.advice,
            style=colour if one.item else "bold",
        )
    out.print(table)
    out.print(
        "people: ICC(A,1) of raters with one another; panel: of the panel's median with the people's mean; bias: panel"
        " minus people, points. Judges are trusted on an item, never in general.",
        style="dim",
    )
    trusted = [one.item for one in found if one.item and one.advice.startswith("trust")]
    judge_check.keep(folder, found)
    out.print(f"trust: {', '.join(trusted) or 'no item'}")
    console.print(f"kept for the report: psyllm eval report {folder} --html", style="dim", soft_wrap=True)
