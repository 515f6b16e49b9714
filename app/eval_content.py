"""`psyllm eval lint` and `psyllm eval ls`: the evaluators' own content."""

from __future__ import annotations

from collections import Counter

from rich.table import Table

from app.screen import out
from evaluators import rubric, safety
from evaluators.files import HERE, prompt
from psyllm.errors import Failure, PsyllmError


def lint_command(names: tuple[str, ...]) -> None:
    """Check every file, name every mistake. Raises Failure if there is one."""
    wrong = 0
    for name in names or rubric.shipped():
        try:
            one = rubric.load(name)
            out.print(f"ok  {one.id} {one.matter.version}: {len(one.matter.items)} items")
        except PsyllmError as error:
            wrong += 1
            out.print(f"{error}\n  -> {error.hint}", style="red", soft_wrap=True)
    if not names:
        rubric.load_all(rubric.shipped())
        for path in sorted((HERE / "prompts").glob("*.md")):
            prompt(path.stem)
        out.print(f"ok  safety set: {len(safety.cases())} cases")
    if wrong:
        raise Failure("schema", f"{wrong} of the rubrics have mistakes", hint="evaluators/README.md shows the format")


def ls_command() -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("rubric", "family", "item", "unit", "what"):
        table.add_column(heading)
    for name in rubric.shipped():
        one = rubric.load(name)
        for number, item in enumerate(one.matter.items):
            first = number == 0
            table.add_row(one.id if first else "", one.matter.family if first else "", item.id, item.unit, item.name)
    out.print(table)
    areas = Counter(case.area for case in safety.cases())
    out.print()
    cases = Table(title=f"safety set: {areas.total()} cases", title_justify="left", box=None, show_header=False)
    for area, count in areas.most_common():
        cases.add_row(area.replace("_", " "), str(count))
    out.print(cases)
