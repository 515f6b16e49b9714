"""`psyllm export`, and the `psyllm corpus` commands."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.options import EmbeddingModel, PromptFolder, SettingsFile, example
from psyllm.errors import UsageError

corpus = typer.Typer(help="Describe corpora in figures.", no_args_is_help=True)


class Format(StrEnum):
    messages = "messages"
    per_turn = "per-turn"
    openr1_psy = "openr1-psy"
    preference = "preference"
    parquet = "parquet"
    hf = "hf"


class Contacts(StrEnum):
    literal = "literal"
    fill = "fill"


class Verdict(StrEnum):
    """What a person may say last of a dialogue that is over."""

    accept = "accept"
    flag = "flag"
    reject = "reject"


def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The new run folder; must not exist.", show_default=False)],
) -> None:
    """Join runs that were grown with the same settings into one run folder."""
    from app.merge import merge_command

    merge_command(runs, out)


def export(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="File to write, or folder for hf and --splits; must not exist.", show_default=False
        ),
    ] = None,
    format_: Annotated[
        Format,
        typer.Option("--format", help="messages: conversations; per-turn: prompts and completions; hf: a folder."),
    ] = Format.messages,
    include_rehearsal: Annotated[
        bool, typer.Option("--include-rehearsal", help="Also write stand-in words of the rehearsal backend.")
    ] = False,
    splits: Annotated[
        str | None,
        typer.Option(metavar="A/B/C", help="Shares of train/validation/test; hf: 90/5/5.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of splits and limits.")] = 0,
    decontaminate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Test set: leave out what it names, shares 13 words in a row with or nearly holds; repeat.",
        ),
    ] = None,
    min_score: Annotated[int, typer.Option(min=0, max=5, help="Lowest score of the critic, 1 to 5; 0: any.")] = 0,
    modality: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only these modalities; repeat.")] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only therapists of these models.")] = None,
    label: Annotated[list[Verdict] | None, typer.Option(help="Only dialogues that people labelled so.")] = None,
    balance: Annotated[bool, typer.Option("--balance", help="Keep the shares that the run was grown for.")] = False,
    no_limits: Annotated[
        bool, typer.Option("--no-limits", help="Keep near duplicates and openings over 5% of replies.")
    ] = False,
    contacts: Annotated[
        Contacts, typer.Option(help="Leave {crisis_contacts} as it is, or fill it in.")
    ] = Contacts.literal,
    chat_template: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jinja", help="Refuse rows whose reasoning it does not render.", show_default=False),
    ] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Validate a dataset instead.", show_default=False)
    ] = None,
    prompts: PromptFolder = None,
) -> None:
    """Write accepted dialogues as training data, with a manifest; or validate a dataset (--check)."""
    from app.export import ExportOptions, check_command, export_command

    if check is not None:
        if runs or out:
            raise UsageError("--check goes without RUN and --out", hint="psyllm export --check PATH")
        check_command(check, chat_template)
        return
    if not runs or out is None:
        raise UsageError(f"{'--out' if runs else 'RUN'} is missing", hint="psyllm export runs/mine --out corpus.jsonl")
    export_command(
        ExportOptions(
            runs=runs,
            out=out,
            format=format_,
            include_rehearsal=include_rehearsal,
            modalities=modality or [],
            models=model or [],
            labels=[verdict.value for verdict in label or []],
            min_score=min_score,
            held_out=decontaminate or [],
            splits=splits,
            seed=seed,
            limits=not no_limits,
            balance=balance,
            fill_contacts=contacts is Contacts.fill,
            prompts=prompts,
            chat_template=chat_template,
        )
    )


@corpus.command("stats", epilog=example("psyllm corpus stats runs/mine openr1_psy.jsonl --html stats.html"))
def corpus_stats(
    sources: Annotated[list[Path], typer.Argument(metavar="RUN|DATASET...", help="Runs, dataset files or folders.")],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page with plots.", show_default=False)
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write each plot as SVG and PNG.", show_default=False)
    ] = None,
    embeddings: EmbeddingModel = None,
    settings: SettingsFile = None,
) -> None:
    """Compare corpora side by side: sizes, distributions, grounding, leaks, diversity, acceptance, cost."""
    from app.corpus_stats import stats_command
    from app.embedding import EmbeddingOptions

    stats_command(sources, html, figures, EmbeddingOptions(embeddings, settings=settings))
