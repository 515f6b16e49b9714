"""The `psyllm` command line.

psyllm grow examples/posts.jsonl --run runs/demo --limit 12
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from app.plain import plain
from psyllm.errors import PsyllmError, UsageError

NOT_A_SERVICE = "Research software on synthetic data: it diagnoses nobody and is no crisis service."

app = typer.Typer(
    name="psyllm",
    help=f"Grow counselling corpora with checked reasoning, train on them, judge models.\n\n{NOT_A_SERVICE}",
    epilog="Example:  psyllm grow examples/posts.jsonl --run runs/demo --limit 12",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
trace = typer.Typer(
    help="Look into a run's dialogues and calls.", epilog="Example:  psyllm trace show runs/demo", no_args_is_help=True
)
app.add_typer(trace, name="trace")

clinical = typer.Typer(help="Look at the clinical knowledge, check it, and judge cases by it.", no_args_is_help=True)
app.add_typer(clinical, name="clinical")

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="Settings file; default: psyllm.toml here.", show_default=False)
]


def _example(line: str) -> str:
    return f"Example:  {line}"


@app.command(epilog=_example("psyllm grow examples/posts.jsonl --run runs/demo --limit 12"))
def grow(
    posts: Annotated[
        list[Path],
        typer.Argument(metavar="POSTS", help="JSONL or CSV: id, text, and maybe title, source, license."),
    ],
    run: Annotated[Path, typer.Option(help="Run folder; made if it is not there, gone on with if it is.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N posts.", show_default=False)] = None,
    models: Annotated[
        str | None,
        typer.Option(metavar="PROFILE", help="Profile of psyllm.toml; rehearsal and embedded are built in."),
    ] = None,
    modality: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only these modalities; repeat for more.")
    ] = None,
    rounds: Annotated[
        str | None, typer.Option(metavar="A-B", help="Rounds per dialogue, 1 to 8.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every choice.", show_default=False)] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Calls in flight per model.", show_default=False)
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that overlays the shipped prompts.", show_default=False)
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="List invalid posts and go on without them.")
    ] = False,
    rehearsal_latency: Annotated[
        float, typer.Option(metavar="MS", min=0, help="Make the rehearsal backend this slow.")
    ] = 0,
    settings: SettingsFile = None,
) -> None:
    """Grow dialogues from posts. Ctrl-C stops cleanly; the same command goes on where it stopped."""
    from app.grow import GrowOptions, grow_command

    grow_command(
        GrowOptions(
            posts=posts,
            run=run,
            limit=limit,
            profile=models,
            modalities=tuple(modality or ()),
            rounds=rounds,
            seed=seed,
            concurrency=concurrency,
            prompts=prompts,
            skip_invalid=skip_invalid,
            rehearsal_latency_ms=rehearsal_latency,
            settings=settings,
        )
    )


@app.command(epilog=_example("psyllm status runs/demo"))
def status(run: RunFolder) -> None:
    """Show the funnel, what was rejected and why, tokens and cost by role."""
    from app.status import status_command

    status_command(run)


@app.command(epilog=_example("psyllm export runs/mine --out corpus.jsonl"))
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="File to write; must not exist.")],
    include_rehearsal: Annotated[
        bool, typer.Option("--include-rehearsal", help="Also write stand-in words of the rehearsal backend.")
    ] = False,
    prompts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that overlays the shipped prompts.", show_default=False)
    ] = None,
) -> None:
    """Write accepted dialogues as chat messages with reasoning_content."""
    from app.export import export_command

    export_command(run, out, include_rehearsal=include_rehearsal, prompts=prompts)


@app.command(epilog=_example("psyllm doctor --models openai"))
def doctor(
    models: Annotated[str | None, typer.Option(metavar="PROFILE", help="Profile to check.", show_default=False)] = None,
    settings: SettingsFile = None,
) -> None:
    """Check the environment, the settings, and each endpoint with one tiny call."""
    from app.doctor import doctor_command

    doctor_command(models, settings)


@trace.command("show", epilog=_example("psyllm trace show runs/demo 3f2a"))
def trace_show(
    run: RunFolder,
    dialogue: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Start of a dialogue id or a post id; default: a good example."),
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Show this call as it was sent and answered.", show_default=False)
    ] = None,
) -> None:
    """Show one dialogue: the words, each turn's reasoning and verdicts, what was sent back and why."""
    from app.show import show_command

    show_command(run, dialogue, step)


ClinicalFolder = Annotated[
    Path | None,
    typer.Option(
        "--folder", metavar="DIR", help="Folder of clinical data; default: the shipped one.", show_default=False
    ),
]


@clinical.command("lint", epilog=_example("psyllm clinical lint"))
def clinical_lint(folder: ClinicalFolder = None) -> None:
    """Check every rule, fact, redirect, code and technique class; all problems in one pass, exit 1 on any."""
    from app.clinical import lint_command

    lint_command(folder)


@clinical.command("ls", epilog=_example("psyllm clinical ls"))
def clinical_ls(folder: ClinicalFolder = None) -> None:
    """List disorders, factors, risk domains and crisis contacts, with what has been verified."""
    from app.clinical import ls_command

    ls_command(folder)


@clinical.command("show", epilog=_example("psyllm clinical show mdd"))
def clinical_show(
    name: Annotated[str, typer.Argument(metavar="ID", help="A disorder, a factor or a risk domain.")],
    folder: ClinicalFolder = None,
) -> None:
    """Show one disorder, factor or risk domain: what a model is sent, rules and codes."""
    from app.clinical import show_command

    show_command(name, folder)


@clinical.command("check", epilog=_example("psyllm clinical check cases.yaml"))
def clinical_check(
    cases: Annotated[Path, typer.Argument(metavar="CASES.yaml", help="Cases with a gold answer.")],
    folder: ClinicalFolder = None,
) -> None:
    """Judge cases by code alone, then compare with their gold; exit 1 on any wrong verdict or code."""
    from app.clinical import check_command

    check_command(cases, folder)


def main() -> NoReturn:
    """The console script: errors become one clear message and an exit code, 2 for usage, 1 for failure."""
    try:
        _refuse_name_clash()
        app()
    except PsyllmError as error:
        typer.secho(f"psyllm: {plain(str(error))}", fg="red", err=True)
        if error.hint:
            typer.echo(f"  -> {plain(error.hint)}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


def _refuse_name_clash() -> None:
    """Our packages have general names; openai-agents, for one, also imports as `agents`."""
    here = Path(__file__).resolve().parent.parent
    for name in ("agents", "clinical", "corpus", "graphs", "prompts"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None or not found.is_relative_to(here):
            raise UsageError(
                f"package {name!r} is taken by {found or 'nothing'}, not by psyllm",
                hint="run psyllm from its checkout in a virtual environment of its own (`make demo` makes one)",
            )
