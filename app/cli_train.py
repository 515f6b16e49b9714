"""The `psyllm train` commands, and what a trained model is used with: `serve` and `chat`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.options import example

SMOLLM2 = "trainer/recipes/smollm2-135m"

train = typer.Typer(
    help="Fine-tune a model on a corpus, with TRL.",
    epilog=example(f"psyllm train sft {SMOLLM2}/sft-cpu.yaml --data runs/demo --include-rehearsal"),
    no_args_is_help=True,
)

RecipeFile = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A YAML file of trainer/recipes, or your own.", show_default=False)
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe; repeat for more.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last whole checkpoint of output_dir.")]
IncludeRehearsal = Annotated[
    bool,
    typer.Option("--include-rehearsal", help="Train on stand-in words of the rehearsal backend, to try the stage."),
]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model folder, or OWNER/NAME on the Hub.", show_default=False)
]


@train.command("sft", epilog=example(f"psyllm train sft {SMOLLM2}/sft-cpu.yaml --data runs/demo --include-rehearsal"))
def train_sft(
    recipe: RecipeFile,
    data: Annotated[
        Path, typer.Option(metavar="SOURCE", help="A run folder, an export, or a dataset.", show_default=False)
    ],
    settings: Settings = None,
    resume: Resume = False,
    include_rehearsal: IncludeRehearsal = False,
) -> None:
    """Fine-tune on every counsellor turn with its reasoning. Ctrl-C saves a checkpoint; --resume goes on from it."""
    from app.train import train_command

    train_command("sft", recipe, data, settings or [], resume=resume, include_rehearsal=include_rehearsal)


@train.command("dpo", epilog=example(f"psyllm train dpo {SMOLLM2}/dpo-cpu.yaml --data runs/demo --include-rehearsal"))
def train_dpo(
    recipe: RecipeFile,
    data: Annotated[Path, typer.Option(metavar="SOURCE", help="A run folder, or preference rows.", show_default=False)],
    settings: Settings = None,
    resume: Resume = False,
    include_rehearsal: IncludeRehearsal = False,
) -> None:
    """Prefer repaired turns over the drafts that the critic sent back. Start from a model that sft has trained."""
    from app.train import train_command

    train_command("dpo", recipe, data, settings or [], resume=resume, include_rehearsal=include_rehearsal)
