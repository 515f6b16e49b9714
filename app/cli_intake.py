"""The `psyllm intake` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.options import EmbeddingModel, RecipeFile, SettingsFile


def intake(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help=".jsonl, .csv, .tsv (each also .zst), .parquet, a folder of .txt, a Hugging Face dataset: "
            "its folder, or hf:OWNER/NAME.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="File to write; must not exist.", show_default=False)
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Where a field of a post stands: text=selftext; repeat."),
    ] = None,
    recipe: RecipeFile = None,
    client_role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE", help="Who is the client in a conversation; repeat for more.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where the posts are from.", show_default=False)] = None,
    license: Annotated[str | None, typer.Option(help="Their licence.", show_default=False)] = None,
    retrieved: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="When they were taken from there.", show_default=False)
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a Hugging Face dataset.", show_default="train")] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of one.", show_default=False)] = None,
    against: Annotated[
        list[Path] | None, typer.Option(metavar="RUN", help="Leave out near duplicates of a run's posts; repeat.")
    ] = None,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Test set: leave out what it names, shares 13 words in a row with or nearly holds; repeat.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N rows.", show_default=False)] = None,
    keep_all: Annotated[bool, typer.Option("--keep-all", help="Screen nothing out, but scrub everything.")] = False,
    keep_raw: Annotated[
        bool, typer.Option("--keep-raw", help="Keep the text as it was found beside the scrubbed one.")
    ] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Count invalid rows and go on without them.")
    ] = False,
    explain: Annotated[
        str | None, typer.Option(metavar="ID", help="Show what each step decides for one post; writes nothing.")
    ] = None,
    embeddings: EmbeddingModel = None,
    similar: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1,
            help="Cosine similarity of embeddings that makes two posts the same.",
            show_default="[embeddings] of psyllm.toml, or 0.9",
        ),
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Read posts from anywhere, scrub personal data, and leave out what no case can be grown from."""
    from app.embedding import EmbeddingOptions
    from app.intake import IntakeOptions, intake_command

    intake_command(
        IntakeOptions(
            sources=sources,
            out=out,
            columns=columns or [],
            recipe=recipe,
            client_roles=client_role or [],
            source=source,
            license=license,
            retrieved=retrieved,
            split=split,
            config=config,
            against=against or [],
            held_out=held_out or [],
            limit=limit,
            keep_all=keep_all,
            keep_raw=keep_raw,
            skip_invalid=skip_invalid,
            explain=explain,
            embeddings=EmbeddingOptions(embeddings, similar, settings),
        )
    )
