"""`psyllm prompt diff`: two versions of a prompt, and what became of the dialogues that were made with each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from rich.table import Table
from rich.text import Text

from app.prompt import overlay_of
from app.prompt_versions import Version, resolve
from app.screen import dollars, out, tokens
from psyllm.records import Dialogue, Status
from psyllm.runs import Run
from psyllm.runs.find import Listed, find
from psyllm.runs.index import Index

CONTEXT = 1
"""Unchanged lines shown around a change; a line is a paragraph."""


def diff_command(a: str, b: str, runs: tuple[Path, ...], prompts: Path | None, settings_file: Path | None) -> None:
    """Print both. Raises UsageError for a version that is nowhere."""
    overlay = overlay_of(prompts, settings_file)
    before, after = resolve(a, overlay, runs), resolve(b, overlay, runs)
    for mark, version, style in (("-", before, "red"), ("+", after, "green")):
        out.print(Text(f"{mark} {version}   {version.origin}", style=f"bold {style}"), soft_wrap=True)
    if before.text == after.text:
        out.print("the texts are the same")
    for line in changes(before.text.splitlines(), after.text.splitlines()):
        out.print(line, soft_wrap=True)
    if runs:
        out.print()
        out.print(_fates(runs, (before, after)))


def changes(before: Sequence[str], after: Sequence[str]) -> Iterator[Text]:
    """The lines that differ, with what changed inside a line set off."""
    for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(CONTEXT):
        yield Text(f"@@ line {group[0][3] + 1} @@", style="cyan")
        for tag, a1, a2, b1, b2 in group:
            old, new = before[a1:a2], after[b1:b2]
            if tag == "equal":
                yield from (Text(f"  {line}", style="dim") for line in old)
            elif tag == "replace" and len(old) == len(new):
                for pair in zip(old, new, strict=True):
                    yield from _within(*pair)
            else:
                yield from (Text(f"- {line}", style="red") for line in old)
                yield from (Text(f"+ {line}", style="green") for line in new)


def _within(old: str, new: str) -> Iterator[Text]:
    a, b = old.split(" "), new.split(" ")
    lines = Text("- ", style="red"), Text("+ ", style="green")
    for tag, a1, a2, b1, b2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        style = "" if tag == "equal" else "bold reverse"
        for line, words, last in ((lines[0], a[a1:a2], a2 == len(a)), (lines[1], b[b1:b2], b2 == len(b))):
            line.append(" ".join(words), style).append("" if last or not words else " ")
    yield from lines


def _fates(runs: Sequence[Path], versions: Sequence[Version]) -> Table:
    table = Table(title="what became of them", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("version", "dialogues", "accepted", "tokens in", "out", "cost", "why not accepted"):
        words = heading in ("version", "why not accepted")
        table.add_column(heading, justify="left" if words else "right", no_wrap=heading != "why not accepted")
    for version in versions:
        made: list[Dialogue] = []
        took: list[Listed] = []
        for folder in runs:
            with Run(folder) as run, Index(run) as index:
                index.refresh()
                rows = {row.id: row for row in find(index)}
                here = [d for d in run.dialogues() if version.sha256 in {ref.sha256 for ref in d.provenance.prompts}]
            made += here
            took += [rows[d.id] for d in here if rows[d.id].calls]
        table.add_row(str(version), *_fate(made, took))
    table.caption = "tokens and cost of a dialogue, on average"
    table.caption_justify = "left"
    return table


def _fate(made: Sequence[Dialogue], took: Sequence[Listed]) -> tuple[str, ...]:
    if not made:
        return ("0", "-", "-", "-", "-", "")
    accepted = sum(d.status is Status.ACCEPTED for d in made)
    reasons = Counter(reason.code for d in made for reason in d.reasons)
    n = len(took) or 1
    cost = None if any(each.cost_usd is None for each in took) else sum(each.cost_usd or 0 for each in took) / n
    return (
        str(len(made)),
        f"{accepted} ({accepted / len(made):.0%})",
        tokens(sum(each.prompt_tokens for each in took) // n),
        tokens(sum(each.completion_tokens for each in took) // n),
        dollars(cost),
        ", ".join(f"{code} {count}" for code, count in reasons.most_common(5)),
    )
