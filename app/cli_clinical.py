"""The `psyllm clinical` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.options import example

clinical = typer.Typer(help="Look at the clinical knowledge, check it, and judge cases by it.", no_args_is_help=True)

ClinicalFolder = Annotated[
    Path | None,
    typer.Option(
        "--folder", metavar="DIR", help="Folder of clinical data; default: the shipped one.", show_default=False
    ),
]


@clinical.command("lint", epilog=example("psyllm clinical lint"))
def clinical_lint(folder: ClinicalFolder = None) -> None:
    """Check every rule, fact, redirect, code and technique class; all problems in one pass, exit 1 on any."""
    from app.clinical import lint_command

    lint_command(folder)


@clinical.command("ls", epilog=example("psyllm clinical ls"))
def clinical_ls(folder: ClinicalFolder = None) -> None:
    """List disorders, factors, risk domains and crisis contacts, with what has been verified."""
    from app.clinical import ls_command

    ls_command(folder)


@clinical.command("show", epilog=example("psyllm clinical show mdd"))
def clinical_show(
    name: Annotated[str, typer.Argument(metavar="ID", help="A disorder, a factor or a risk domain.")],
    folder: ClinicalFolder = None,
) -> None:
    """Show one disorder, factor or risk domain: what a model is sent, rules and codes."""
    from app.clinical import show_command

    show_command(name, folder)


@clinical.command("check", epilog=example("psyllm clinical check cases.yaml"))
def clinical_check(
    cases: Annotated[Path, typer.Argument(metavar="CASES.yaml", help="Cases with a gold answer.")],
    folder: ClinicalFolder = None,
) -> None:
    """Judge cases by code alone, then compare with their gold; exit 1 on any wrong verdict or code."""
    from app.clinical import check_command

    check_command(cases, folder)
