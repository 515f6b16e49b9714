"""The `psyllm` command line.

psyllm grow examples/posts.jsonl --run runs/demo --limit 12
"""

from __future__ import annotations

import sqlite3
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from app.cli_clinical import clinical
from app.cli_corpus import corpus, export, merge
from app.cli_eval import evaluation
from app.cli_intake import intake
from app.cli_prompt import prompt
from app.cli_trace import trace
from app.cli_train import chat, serve, train
from app.options import ClientWords, Engine, Json, LogJson, PromptFolder, RecipeFile, RunFolder, SettingsFile, example
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
app.command("intake", epilog=example("psyllm intake RS_2023-01.zst --license 'see Reddit' --out posts.jsonl"))(intake)
app.add_typer(trace, name="trace")
app.add_typer(clinical, name="clinical")
app.add_typer(train, name="train")
app.add_typer(evaluation, name="eval")
app.add_typer(corpus, name="corpus")
app.add_typer(prompt, name="prompt")


@app.command(epilog=example("psyllm grow examples/posts.jsonl --run runs/demo --limit 12"))
def grow(
    posts: Annotated[
        list[Path],
        typer.Argument(metavar="POSTS", help="What `psyllm intake` wrote, or any source that it reads."),
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
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Processes, where one core is full; with Ray, one a core.", show_default=False
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="Where workers run: processes of this machine, or a Ray cluster.")
    ] = "processes",
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Of the Ray cluster; default: one that runs here, or a new one."),
    ] = None,
    snapshots: Annotated[
        str | None,
        typer.Option(metavar="URL", help="With Ray: where nodes keep snapshots, if not in the run folder."),
    ] = None,
    snapshot_every: Annotated[
        float | None,
        typer.Option(
            metavar="S", min=1, help="With Ray: how much a lost machine may cost; default: 30.", show_default=False
        ),
    ] = None,
    prompts: PromptFolder = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="List invalid posts and go on without them.")
    ] = False,
    recipe: RecipeFile = None,
    client_words: Annotated[
        ClientWords | None,
        typer.Option(help="simulated by the patient model, or real: those of a source that holds conversations."),
    ] = None,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Screen no post out; all are scrubbed nevertheless.")
    ] = False,
    keep_raw: Annotated[
        bool, typer.Option("--keep-raw", help="Keep posts as they were found in the run, personal data and all.")
    ] = False,
    rehearsal_latency: Annotated[
        float, typer.Option(metavar="MS", min=0, help="Make the rehearsal backend this slow.")
    ] = 0,
    review: Annotated[
        bool, typer.Option("--review", help="Let a person accept, reject or send back what would be accepted.")
    ] = False,
    max_cost: Annotated[
        float | None,
        typer.Option(metavar="USD", min=0, help="Stop when the run, over all its starts, has cost this."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop when it has used so many tokens, in and out.")
    ] = None,
    max_hours: Annotated[
        float | None, typer.Option(metavar="H", min=0, help="Stop this start after so many hours.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try dialogues that failed once more, and nothing else.")
    ] = False,
    settings: SettingsFile = None,
    log_json: LogJson = False,
) -> None:
    """Grow dialogues from posts. Ctrl-C stops cleanly; the same command goes on where it stopped."""
    from app.grow import GrowOptions, grow_command
    from psyllm.budget import Budget

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
            workers=workers or 0,
            engine=engine,
            address=address,
            snapshots=snapshots,
            snapshot_s=snapshot_every,
            prompts=prompts,
            skip_invalid=skip_invalid,
            recipe=recipe,
            client_words=client_words,
            keep_all=keep_all,
            keep_raw=keep_raw,
            rehearsal_latency_ms=rehearsal_latency,
            settings=settings,
            log_json=log_json,
            review=review,
            budget=Budget(max_cost, max_tokens, max_hours),
            failed="only" if retry_failed else "leave",
        )
    )


@app.command(epilog=example("psyllm status runs/demo"))
def status(
    run: RunFolder,
    failed: Annotated[bool, typer.Option("--failed", help="List the posts whose dialogue failed, and why.")] = False,
    json: Json = False,
) -> None:
    """Show the funnel, what was rejected and why, tokens and cost by role."""
    from app.status import failed_command, status_command

    (failed_command if failed else status_command)(run, as_json=json)


app.command(epilog=example("psyllm merge runs/monday runs/tuesday --out runs/week"))(merge)
app.command(epilog=example("psyllm export runs/mine --out corpus.jsonl"))(export)


@app.command(epilog=example("psyllm view runs/demo"))
def view(
    run: RunFolder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any that is free.")] = 8321,
    host: Annotated[str, typer.Option(help="Address to listen on; another than this machine's needs a token.")] = (
        "127.0.0.1"
    ),
    token: Annotated[
        str, typer.Option(envvar="PSYLLM_VIEW_TOKEN", help="What visitors must know.", show_default=False)
    ] = "",
) -> None:
    """Show a run in the browser: funnel, lists, search, dialogues with reasoning and checks; review them."""
    from app.view import view_command

    view_command(run, host, port, token)


@app.command(epilog=example("psyllm review runs/demo 3f2a reject --comment 'too tidy' --by AB"))
def review(
    run: RunFolder,
    dialogue: Annotated[str, typer.Argument(metavar="ID", help="Start of a dialogue id, or a post id.")],
    verdict: Annotated[str, typer.Argument(metavar="VERDICT", help="accept, reject, flag or revise.")],
    comment: Annotated[str, typer.Option(help="Why; for revise, what the counsellor is to change.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME", help="Your name or initials.")] = "",
    round_: Annotated[int, typer.Option("--round", min=0, help="For revise: the round to redo; 0 is the last.")] = 0,
) -> None:
    """Say what you think of a dialogue; `grow --review` goes on with it, and export leaves out what was rejected."""
    from app.review import review_command

    review_command(run, dialogue, verdict, comment, by, round_)


@app.command(epilog=example("psyllm desk runs/wizard --role therapist"))
def desk(
    run: RunFolder,
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Only calls to this role.", show_default=False)
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show what waits, and answer nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="When all is answered, wait for further calls.")] = False,
) -> None:
    """Answer calls that wait for a person: shows the next one, and takes its answer in your editor."""
    from app.desk import desk_command

    desk_command(run, role, listing=listing, watch=watch)


@app.command(epilog=example("psyllm doctor --models openai"))
def doctor(
    models: Annotated[str | None, typer.Option(metavar="PROFILE", help="Profile to check.", show_default=False)] = None,
    settings: SettingsFile = None,
) -> None:
    """Check the environment, the settings, and each endpoint with one tiny call."""
    from app.doctor import doctor_command

    doctor_command(models, settings)


app.command(epilog=example("psyllm serve trained/smollm2-135m-sft"))(serve)
app.command(epilog=example("psyllm chat trained/smollm2-135m-sft"))(chat)


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
    except (sqlite3.DatabaseError, zlib.error) as error:
        typer.secho(f"psyllm: a database of the run cannot be read: {plain(str(error))}", fg="red", err=True)
        typer.echo("  -> put a copy of it back, or save what can be read: sqlite3 FILE .recover", err=True)
        sys.exit(1)
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
