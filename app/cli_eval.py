"""The `psyllm eval` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.options import SettingsFile, example

evaluation = typer.Typer(
    name="eval",
    help="Evaluate counsellors and corpora with judges that are checked themselves.",
    epilog=example("psyllm eval run --counsellor rehearsal --clients examples/posts.jsonl --out runs/eval"),
    no_args_is_help=True,
)

EvalFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished evaluation.", show_default=False)]


@evaluation.command("run", epilog=example("psyllm eval run --counsellor rehearsal --clients posts.jsonl --out runs/e1"))
def eval_run(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder; made if it is not there, gone on with if it is.")],
    counsellor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL[:STRATEGY]",
            help="A model of psyllm.toml; strategy plain, in_context, two_phase, graph or graph_no_AGENT. Repeat.",
        ),
    ] = None,
    clients: Annotated[
        Path | None, typer.Option(metavar="POSTS", help="Held-out posts that clients are made from.")
    ] = None,
    static: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Fixed first turns or histories to answer once, instead.")
    ] = None,
    dialogues: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Existing dialogues to judge as they stand. Repeat.")
    ] = None,
    judges: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="A judge; repeat for a panel of three or more.")
    ] = None,
    client_model: Annotated[
        str, typer.Option(metavar="MODEL", help="Plays every client, for every counsellor.")
    ] = "rehearsal",
    rubrics: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Rubric id or file; default: the four dimensions.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, max=10, help="Exchanges of a talk.", show_default="3; embedded: 1"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first N posts or rows.", show_default=False)
    ] = None,
    variants: Annotated[int, typer.Option(min=1, max=18, help="Clients of different style made from one post.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, max=9, help="Scorings of one moment by one judge.")] = 1,
    moments: Annotated[
        int | None,
        typer.Option(min=1, max=10, help="Replies of a talk that are scored.", show_default="2; embedded: 1"),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare/--no-compare", help="Compare talks pairwise, both orders.")
    ] = True,
    safety: Annotated[
        bool | None,
        typer.Option("--safety/--no-safety", help="Run the safety set as well.", show_default="yes; embedded: no"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every choice.")] = 0,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Calls in flight per model.", show_default=False)
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Let counsellors talk with simulated clients, and judge them. Ctrl-C stops; the same command goes on."""
    from app.eval_run import RunOptions, run_command

    run_command(
        RunOptions(
            out=out,
            counsellors=tuple(counsellor or ()),
            clients=clients,
            static=static,
            dialogues=tuple(dialogues or ()),
            judges=tuple(judges or ()),
            client_model=client_model,
            rubrics=tuple(rubrics or ()),
            rounds=rounds,
            limit=limit,
            variants=variants,
            repeats=repeats,
            moments=moments,
            compare=compare,
            safety=safety,
            seed=seed,
            concurrency=concurrency,
            settings=settings,
        )
    )


@evaluation.command("report", epilog=example("psyllm eval report runs/eval --html"))
def eval_report(
    folder: EvalFolder,
    html: Annotated[
        bool, typer.Option("--html", help="Write DIR/report/index.html, with figures and LaTeX tables beside it.")
    ] = False,
) -> None:
    """Show who did better, by how much, and how far the judges can be trusted."""
    from app.eval_report import report_command

    report_command(folder, html=html)


@evaluation.command("sheet", epilog=example("psyllm eval sheet runs/eval --out raters.xlsx --clients 30"))
def eval_sheet(
    folder: EvalFolder,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Sheet to write, .xlsx or .csv; must not exist.")],
    item: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only these items; repeat for more.")] = None,
    clients: Annotated[
        int | None, typer.Option(min=1, help="Only so many clients, drawn by seed.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of order and draw.")] = 0,
) -> None:
    """Write a blinded rating sheet with instructions, and the key that stays with you."""
    from app.eval_sheet import sheet_command

    sheet_command(folder, out, items=tuple(item or ()), clients=clients, seed=seed)


@evaluation.command(
    "judge-check", epilog=example("psyllm eval judge-check runs/eval ann.xlsx ben.xlsx --key s.key.json")
)
def eval_judge_check(
    folder: EvalFolder,
    sheets: Annotated[list[Path], typer.Argument(metavar="SHEET...", help="Filled sheets, one a rater.")],
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key; default: beside the sheet.", show_default=False)
    ] = None,
) -> None:
    """Measure the panel against people, item by item, and say which items to trust."""
    from app.eval_sheet import judge_check_command

    judge_check_command(folder, tuple(sheets), key)


@evaluation.command("lint", epilog=example("psyllm eval lint"))
def eval_lint(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[RUBRIC]...", help="Rubric ids or files; default: all that ship.")
    ] = None,
) -> None:
    """Check rubrics and the safety set: every item has its anchors, examples and null rule; exit 1 on any mistake."""
    from app.eval_content import lint_command

    lint_command(tuple(files or ()))


@evaluation.command("ls", epilog=example("psyllm eval ls"))
def eval_ls() -> None:
    """List rubrics with their items, and the safety set by area."""
    from app.eval_content import ls_command

    ls_command()
