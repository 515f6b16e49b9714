"""`psyllm clinical`: lint, list, show, and check against cases with a gold answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from app.screen import out
from clinical import Knowledge, cases, coding, files
from clinical.knowledge import SHIPPED, SYSTEM_NAMES
from clinical.logic import written
from prompts.library import Library
from psyllm.errors import PsyllmError, UsageError

CHECKED = "clinical/README.md says what was checked, and how"


def lint_command(folder: Path | None) -> None:
    """Print every problem of the files, and of the modalities against them. Raises PsyllmError if there is one."""
    folder = folder or SHIPPED
    tables, problems = files.read(folder)
    lines = [str(problem) for problem in (*problems, *files.unbillable(folder, tables, coding.billable))]
    if tables.risk is not None:
        lines += _unknown_classes(tables.risk.technique_classes)
    for line in lines:
        out.print(Text(line), soft_wrap=True)
    if lines:
        raise PsyllmError(f"{len(lines)} problems in clinical data", hint="the formats are in clinical/README.md")
    out.print(
        f"clinical: {len(tables.disorders)} disorders, {len(tables.facts)} facts, {len(tables.factors)} factors, "
        f"{len(tables.risk.domains if tables.risk else ())} risk domains: no problem"
    )


def _unknown_classes(classes: tuple[str, ...]) -> Iterator[str]:
    for modality_id, modality in Library().modalities.items():
        for name, technique in modality.techniques.items():
            if technique.klass not in classes:
                yield f"prompts/modalities/{modality_id}.md: {name}: no technique class is called {technique.klass!r}"


def ls_command(folder: Path | None) -> None:
    """Print one line an entry."""
    knowledge = Knowledge.load(folder=folder)
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "systems", "criteria", "verified"):
        table.add_column(heading)
    for name, disorder in knowledge.disorders.items():
        blocks = disorder.blocks()
        names = " / ".join(dict.fromkeys(block.name for block in blocks.values()))
        systems = ", ".join(SYSTEM_NAMES[system] for system in blocks)
        table.add_row(name, names, systems, str(len(knowledge.criterion_ids_of([name]))), disorder.verified)
    for name, factor in knowledge.factors.items():
        table.add_row(name, factor.name, "factor", "", factor.verified)
    for name, domain in knowledge.risk_table.domains.items():
        table.add_row(name, f"risk, levels 0-{len(domain.levels) - 1}", "", "", domain.verified)
    out.print(table)
    for contact in knowledge.contact_table.contacts:
        out.print(Text(f"contact {contact.name} ({contact.where}): {contact.checked}"))
    out.print(CHECKED)


def show_command(name: str, folder: Path | None) -> None:
    """Print one entry. Raises UsageError when nothing is called so."""
    knowledge = Knowledge.load(folder=folder)
    if name in knowledge.disorders:
        disorder = knowledge.disorders[name]
        out.print(Text(knowledge.describe([name])), soft_wrap=True)
        for system, block in disorder.blocks().items():
            out.print(Text(f"\n{SYSTEM_NAMES[system]}: {block.name}", style="bold"))
            for place, rule in block.rules():
                out.print(Text(f"{'.'.join(map(str, place))}: {written(rule)}"), soft_wrap=True)
            redirects = [f"{x.id} -> {x.redirect} (unknown: {x.if_unknown})" for x in block.exclusions]
            out.print(Text(f"exclusions: {'; '.join(redirects) or 'none'}"), soft_wrap=True)
            out.print(Text(f"codes: {', '.join((*block.codes, *block.more_codes))}"), soft_wrap=True)
        out.print(Text(f"\nverified: {disorder.verified}; sources: {', '.join(disorder.source)}"))
    elif name in knowledge.factors:
        factor = knowledge.factors[name]
        codes = f"ICD-10-CM {', '.join(factor.icd10cm) or 'none'}; ICD-11 {', '.join(factor.icd11) or 'none'}"
        out.print(Text(f"{factor.name}: {codes}; no disorder; verified: {factor.verified}. {factor.note}"))
    elif name in knowledge.risk_table.domains:
        for rung in knowledge.risk_table.domains[name].levels:
            out.print(Text(f"{name} {rung.level}: {rung.name}, mode {rung.mode}", style="bold"))
            for heading, lines in (("must", rung.must), ("must not", rung.must_not)):
                for line in lines:
                    out.print(Text(f"  {heading}: {line}"))
    else:
        raise UsageError(f"nothing is called {name!r}", hint="psyllm clinical ls")


def check_command(path: Path, folder: Path | None) -> None:
    """Print verdicts, codes and gates right of total. Raises PsyllmError on any wrong verdict or code."""
    rows, gold = cases.read(path)
    knowledge = Knowledge.load(folder=folder, lenient=cases.lenient(path))
    outcomes = [cases.judge(knowledge, case) for case in rows]
    score = cases.compare(outcomes, gold)
    table = Table(box=None, pad_edge=False)
    for heading in ("case", "system", "verdict", "redirect", "code", ""):
        table.add_column(heading)
    for line in score.lines:
        told = Text("; ".join(line.wrong) or "ok", style="red" if line.wrong else "green")
        answer = line.answer
        table.add_row(line.case, SYSTEM_NAMES[line.system], answer.verdict, answer.redirect, answer.code_status, told)
    out.print(table)
    for gate in score.wrong_gates:
        out.print(Text(gate, style="yellow"), soft_wrap=True)
    out.print(
        f"verdicts {score.verdicts}, codes {score.codes}, redirects {score.redirects}, gates {score.gates} "
        f"(right of total), by code alone"
    )
    if not (score.verdicts.all_right and score.codes.all_right):
        raise PsyllmError(f"{path}: a verdict or a code is wrong", hint="psyllm clinical show ID shows the rules")
