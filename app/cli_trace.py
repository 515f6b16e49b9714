"""The `psyllm trace` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.options import Json, LogJson, RunFolder, SettingsFile, example

trace = typer.Typer(
    help="Look into a run's dialogues and calls: find, explain, replay, fork, compare.",
    epilog="Example:  psyllm trace why runs/demo 3f2a",
    no_args_is_help=True,
)

DialogueId = Annotated[
    str, typer.Argument(metavar="ID", help="Start of a dialogue id, a post id, or the id of an exported row.")
]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]
Status = Annotated[
    str, typer.Option(help="accepted, rejected, screened_out, failed, in_review, evaluated.", show_default=False)
]
Reason = Annotated[str, typer.Option(metavar="CODE", help="A reason code.", show_default=False)]
Modality = Annotated[str, typer.Option(metavar="ID", help="The modality planned.", show_default=False)]
Severity = Annotated[str, typer.Option(help="minimal, mild, moderate or severe.", show_default=False)]
Blamed = Annotated[str, typer.Option(help="The role that a reason blames.", show_default=False)]
Model = Annotated[str, typer.Option(help="A model that played any role.", show_default=False)]
Prompt = Annotated[
    str, typer.Option(metavar="ID[@VERSION]", help="A prompt used: cbt, cbt@1.0, or its hash.", show_default=False)
]
Since = Annotated[str, typer.Option(metavar="TIME", help="Ended since: 30m, 2h, 1d, an ISO time.", show_default=False)]
Words = Annotated[str, typer.Option("--grep", metavar="PATTERN", help="Words said in it.", show_default=False)]
Step = Annotated[int, typer.Option(min=0, help="The call's number, as `trace show` lists it.", show_default=False)]
PromptFile = Annotated[
    Path | None, typer.Option("--prompt", metavar="FILE", help="An edited role or modality.", show_default=False)
]
Profile = Annotated[
    str | None, typer.Option(metavar="PROFILE", help="Profile of psyllm.toml; default: the run's.", show_default=False)
]


@trace.command("ls", epilog=example("psyllm trace ls runs/demo --status rejected --role therapist"))
def trace_ls(
    run: RunFolder,
    status: Status = "",
    reason: Reason = "",
    modality: Modality = "",
    severity: Severity = "",
    role: Blamed = "",
    model: Model = "",
    prompt: Prompt = "",
    since: Since = "",
    grep: Words = "",
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List dialogues, forks after their parents; exit 1 if none matches."""
    from app.trace_find import filter_of, ls_command

    wanted = filter_of(status, reason, modality, severity, role, model, prompt, since, grep)
    ls_command(run, wanted, limit=limit, as_json=json)


@trace.command("reasons", epilog=example("psyllm trace reasons runs/demo"))
def trace_reasons(
    run: RunFolder,
    modality: Modality = "",
    role: Blamed = "",
    model: Model = "",
    prompt: Prompt = "",
    since: Since = "",
    json: Json = False,
) -> None:
    """Count reasons by modality and prompt version, worst first."""
    from app.trace_find import filter_of, reasons_command

    wanted = filter_of(modality=modality, role=role, model=model, prompt=prompt, since=since)
    reasons_command(run, wanted, as_json=json)


@trace.command("show", epilog=example("psyllm trace show runs/demo 3f2a"))
def trace_show(
    run: RunFolder,
    dialogue: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Start of a dialogue id or a post id; default: a good example."),
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Show this call as it was sent and answered.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Show one dialogue: the words, each turn's reasoning and verdicts, what was sent back and why, every call."""
    from app.show import show_command

    show_command(run, dialogue, step, as_json=json)


@trace.command("why", epilog=example("psyllm trace why runs/demo 3f2a"))
def trace_why(run: RunFolder, dialogue: DialogueId, json: Json = False) -> None:
    """Say why a dialogue ended as it did: evidence, step and role to blame, what to do next."""
    from app.trace_why import why_command

    why_command(run, dialogue, as_json=json)


@trace.command("grep", epilog=example("psyllm trace grep runs/demo '\"leave it\" egg*' --role patient"))
def trace_grep(
    run: RunFolder,
    pattern: Annotated[str, typer.Argument(help='Words that must all occur, "phrases", beginnings like egg*.')],
    role: Annotated[str, typer.Option(help="Who says it: a role, or post.", show_default=False)] = "",
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """Search posts and everything that the roles said and reasoned; exit 1 if nobody says it."""
    from app.trace_find import grep_command

    grep_command(run, pattern, role, limit=limit, as_json=json)


@trace.command("tail", epilog=example("psyllm trace tail runs/demo"))
def trace_tail(run: RunFolder) -> None:
    """Follow a run as it grows, a line for every call and every finished dialogue; Ctrl-C ends it."""
    from app.trace_tail import tail_command

    tail_command(run)


@trace.command("replay", epilog=example("psyllm trace replay runs/demo 3f2a --step 7 --prompt cbt.md"))
def trace_replay(
    run: RunFolder,
    dialogue: DialogueId,
    step: Step,
    prompt: PromptFile = None,
    models: Profile = None,
    json: Json = False,
    settings: SettingsFile = None,
    log_json: LogJson = False,
) -> None:
    """Make one call again, as it was or with an edited prompt, and show old and new side by side."""
    from app.trace_replay import Place, replay_command

    replay_command(Place(run, dialogue, step, prompt, models, settings, json, log_json))


@trace.command("fork", epilog=example("psyllm trace fork runs/demo 3f2a --step 7 --prompt cbt.md"))
def trace_fork(
    run: RunFolder,
    dialogue: DialogueId,
    step: Step,
    prompt: PromptFile = None,
    edit: Annotated[bool, typer.Option("--edit", help="Change the step's reply in $EDITOR.")] = False,
    models: Profile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before paying.")] = False,
    json: Json = False,
    settings: SettingsFile = None,
    log_json: LogJson = False,
) -> None:
    """Grow a dialogue on from one step as a new one; without --prompt or --edit the step is just asked again."""
    from app.trace_replay import Place, fork_command

    fork_command(Place(run, dialogue, step, prompt, models, settings, json, log_json), edit=edit, yes=yes)


@trace.command("diff", epilog=example("psyllm trace diff runs/demo 3f2a 9c01 --only different"))
def trace_diff(
    run: RunFolder,
    a: DialogueId,
    b: DialogueId,
    only: Annotated[
        str, typer.Option(metavar="different", help="`different` leaves out what is alike.", show_default=False)
    ] = "",
    json: Json = False,
) -> None:
    """Compare two dialogues step by step: prompt, words, verdicts, scores, cost."""
    from app.trace_diff import diff_command
    from psyllm.errors import UsageError

    if only not in ("", "different"):
        raise UsageError(f"--only {only!r} does not exist", hint="--only different")
    diff_command(run, a, b, only_different=bool(only), as_json=json)


@trace.command("export", epilog=example("psyllm trace export runs/demo 3f2a 9c01 --html rejected.html"))
def trace_export(
    run: RunFolder,
    dialogues: Annotated[list[str], typer.Argument(metavar="ID...", help="Starts of dialogue ids, or post ids.")],
    html: Annotated[Path, typer.Option(metavar="FILE", help="Page to write; must not exist.", show_default=False)],
) -> None:
    """Write dialogues as one self-contained page: no script, no network, everything escaped."""
    from app.trace_page import export_command

    export_command(run, dialogues, html)


@trace.command("otel", epilog=example("psyllm trace otel runs/demo --endpoint http://127.0.0.1:6006"))
def trace_otel(
    run: RunFolder,
    dialogues: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Only these.", show_default=False)
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="OTLP over HTTP; default: OTEL_EXPORTER_OTLP_ENDPOINT, or a collector on this machine.",
            show_default=False,
        ),
    ] = None,
    content: Annotated[bool, typer.Option("--content", help="Send messages and answers too.")] = False,
) -> None:
    """Send dialogues as OpenTelemetry GenAI traces, for Phoenix, Langfuse or LangSmith."""
    from app.trace_otel import otel_command

    otel_command(run, dialogues or [], endpoint, content=content)
