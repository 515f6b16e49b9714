"""The `psyllm prompt` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.options import PromptFolder, SettingsFile, example

prompt = typer.Typer(
    help="Look at the prompts, check them, and see what a change does to dialogues.",
    epilog=example("psyllm prompt lint --prompts my-prompts"),
    no_args_is_help=True,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="A role or a modality, as `psyllm prompt ls` lists them.")]
Version = "ID, ID@version, ID#hash, git-rev:ID, or a file."
A = Annotated[str, typer.Argument(metavar="A", help=f"The older one: {Version}")]
B = Annotated[str, typer.Argument(metavar="B", help="The newer one, likewise.")]
Posts = Annotated[
    list[Path], typer.Option("--posts", metavar="FILE", help="Posts as for `psyllm grow`; repeat for more.")
]
Limit = Annotated[int, typer.Option(min=1, help="Only the first N posts.")]
Models = Annotated[
    str | None, typer.Option(metavar="PROFILE", help="Profile of psyllm.toml; default: as there.", show_default=False)
]


@prompt.command("ls", epilog=example("psyllm prompt ls --prompts my-prompts"))
def prompt_ls(prompts: PromptFolder = None, settings: SettingsFile = None) -> None:
    """List every role and modality: version, hash, tokens, and whether it is shipped or your own."""
    from app.prompt import ls_command

    ls_command(prompts, settings)


@prompt.command("new", epilog=example("psyllm prompt new compassion_focused --from cbt --prompts my-prompts"))
def prompt_new(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the new modality; the same as --from edits that one.")
    ],
    source: Annotated[str, typer.Option("--from", metavar="ID", help="The prompt to start from.")],
    prompts: PromptFolder = None,
    settings: SettingsFile = None,
) -> None:
    """Write a new modality, or a copy of a shipped prompt to edit, into your own folder. Overwrites nothing."""
    from app.prompt import new_command

    new_command(name, source, prompts, settings)


@prompt.command("show", epilog=example("psyllm prompt show cbt --post examples/posts.jsonl#ex-04-the-spare-room"))
def prompt_show(
    name: Id,
    post: Annotated[
        str | None,
        typer.Option(metavar="FILE#ID", help="Show it for this post; its words stand in as the client's first ones."),
    ] = None,
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Of a modality: only this role's messages.", show_default=False)
    ] = None,
    models: Models = None,
    prompts: PromptFolder = None,
    settings: SettingsFile = None,
) -> None:
    """Show the exact messages that would be sent, with token counts; by default over an example conversation."""
    from app.prompt_show import show_command

    show_command(name, post, role, models, prompts, settings)


@prompt.command("lint", epilog=example("psyllm prompt lint --prompts my-prompts --watch"))
def prompt_lint(
    prompts: PromptFolder = None,
    watch: Annotated[bool, typer.Option("--watch", help="Check again whenever a file changes, until Ctrl-C.")] = False,
    settings: SettingsFile = None,
) -> None:
    """Check every file; all mistakes in one pass, each with file:line, the value and the likely fix. Exit 1 on any."""
    from app.prompt_lint import lint_command

    lint_command(prompts, settings, watch=watch)


@prompt.command("try", epilog=example("psyllm prompt try cbt --posts examples/posts.jsonl --limit 3"))
def prompt_try(
    name: Id,
    posts: Posts,
    limit: Limit = 3,
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder; default: one under runs/ for these prompts and settings.", show_default=False),
    ] = None,
    models: Models = None,
    prompts: PromptFolder = None,
    settings: SettingsFile = None,
) -> None:
    """Grow a few dialogues with the edited prompt and show them."""
    from app.prompt_try import try_command

    try_command(name, posts, limit, run, models, prompts, settings)


@prompt.command("diff", epilog=example("psyllm prompt diff HEAD~1:cbt cbt --run runs/mine"))
def prompt_diff(
    a: A,
    b: B,
    run: Annotated[
        list[Path] | None, typer.Option(help="Run to compare the versions in; repeat for more.", show_default=False)
    ] = None,
    prompts: PromptFolder = None,
    settings: SettingsFile = None,
) -> None:
    """Compare two versions of a prompt: the text, and with --run what became of their dialogues."""
    from app.prompt_diff import diff_command

    diff_command(a, b, tuple(run or ()), prompts, settings)


@prompt.command("ab", epilog=example("psyllm prompt ab HEAD:cbt cbt --posts examples/posts.jsonl --limit 20"))
def prompt_ab(
    a: A,
    b: B,
    posts: Posts,
    limit: Limit = 20,
    repeats: Annotated[int, typer.Option(metavar="K", min=1, help="Dialogues a post, each with its own seed.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the runs; default: one under runs/.", show_default=False),
    ] = None,
    models: Models = None,
    prompts: PromptFolder = None,
    settings: SettingsFile = None,
) -> None:
    """Grow the same posts with both versions, and show the paired differences. Unchanged calls are made once."""
    from app.prompt_ab import AbOptions, ab_command

    ab_command(AbOptions(a, b, tuple(posts), limit, repeats, out, models, prompts, settings))
