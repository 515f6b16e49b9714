"""`psyllm eval run`: from a command line to a finished or cleanly stopped evaluation."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.eval_report import needs_extra
from app.screen import REHEARSAL, console, dollars, tokens
from corpus.intake import first_posts
from evaluators import rubric
from evaluators.files import HERE
from evaluators.rubric import DIMENSIONS, Rubric
from prompts.library import Library
from psyllm import __version__
from psyllm.errors import Failure, UsageError
from psyllm.journal import Journal
from psyllm.logs import configure
from psyllm.records import Post
from psyllm.settings import BUILT_IN_MODELS, Settings, load_settings

if TYPE_CHECKING:
    from evaluators.bench import Results, Spec
    from evaluators.counsellors import Maker
    from psyllm.calls import Caller

STOPPED = 130
BRIEF = {"max_tokens": 180, "repeat_penalty": 1.2}
"""Sampling of the built-in embedded model as counsellor or judge. It rambles up to whatever limit there is, at some 25
tokens a second on two idle cores."""
GRAPH = ("graph", "graph_no_diagnostician", "graph_no_modality", "graph_no_critic")


_LOST = {"void": "quote what nobody said", "unreadable": "fit no form", "failed": "got no answer"}
"""How an answer of a judge is lost."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line said."""

    out: Path
    counsellors: tuple[str, ...]
    clients: Path | None
    static: Path | None
    dialogues: tuple[Path, ...]
    judges: tuple[str, ...]
    client_model: str
    rubrics: tuple[str, ...]
    rounds: int | None
    """None: as many as suit the models, like `moments` and `safety`."""
    limit: int | None
    variants: int
    repeats: int
    moments: int | None
    compare: bool
    safety: bool | None
    seed: int
    concurrency: int | None
    settings: Path | None


def run_command(options: RunOptions) -> None:
    """Evaluate, show progress, say how to go on. Raises UsageError or Failure; exits with 130 after Ctrl-C."""
    configure()
    needs_extra()
    settings, options = suited(load_settings(options.settings), options)
    _check(options)
    from evaluators.bench import Spec
    from evaluators.counsellors import STRATEGIES, split
    from evaluators.table import check_models

    counsellors = tuple(":".join(split(name, (*STRATEGIES, *GRAPH))) for name in dict.fromkeys(options.counsellors))
    judges = options.judges or ("rehearsal",)
    names = [*(name.partition(":")[0] for name in counsellors), *judges, options.client_model]
    check_models(settings, names)
    rubrics = rubric.load_all(options.rubrics or DIMENSIONS)
    spec = Spec(
        counsellors=counsellors,
        judges=tuple(dict.fromkeys(judges)),
        client_model=options.client_model,
        kind="static" if options.static else "interactive",
        rounds=options.rounds or 3,
        variants=options.variants,
        repeats=options.repeats,
        moments=options.moments or 2,
        compare=options.compare,
        safety=options.safety is not False and bool(counsellors),
        seed=options.seed,
    )
    posts = _posts(options)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_run(settings, options, spec, rubrics, posts, tuple(dict.fromkeys(names))))
        except Failure as failure:
            if failure.boundary != "stopped":
                raise
            console.print("stopped; finished calls are kept, and the same command goes on", style="yellow")
            sys.exit(STOPPED)
        except (asyncio.CancelledError, KeyboardInterrupt):
            console.print("stopped at once; finished calls are kept, and the same command goes on", style="yellow")
            sys.exit(STOPPED)
    console.print(f"next: psyllm eval report {options.out}", style="dim", soft_wrap=True)


def suited(settings: Settings, options: RunOptions) -> tuple[Settings, RunOptions]:
    """Where an embedded model judges or counsels, and nobody said else: what it can do in minutes."""
    models = settings.models
    names = {*options.judges, *(name.partition(":")[0] for name in options.counsellors)}
    small = sorted(name for name in names if name in models and models[name].kind == "embedded")
    if not small:
        return settings, options
    long = options.client_model == "embedded" or any(f"embedded:{team}" in options.counsellors for team in GRAPH)
    if models["embedded"] == BUILT_IN_MODELS["embedded"] and not long:
        brief = models["embedded"].model_copy(update={"sampling": models["embedded"].sampling | BRIEF})
        settings = settings.model_copy(update={"models": models | {"embedded": brief}})
    options = replace(
        options,
        rounds=options.rounds or 1,
        moments=options.moments or 1,
        safety=bool(options.safety),
    )
    limits = ", ".join(f"{name} {settings.models[name].answer_tokens or 'any number of'} tokens" for name in small)
    console.print(
        f"embedded model: {options.rounds} exchange(s), {options.moments} reply scored,"
        f" {'with' if options.safety else 'without'} the safety set; answers of at most: {limits}"
        " (--rounds, --moments, --safety and psyllm.toml say otherwise)",
        style="dim",
        soft_wrap=True,
    )
    return settings, options


def _check(options: RunOptions) -> None:
    if not options.counsellors and not options.dialogues:
        raise UsageError("nobody to evaluate", hint="name a --counsellor MODEL, or --dialogues FILE that exist already")
    if options.clients and options.static:
        raise UsageError("--clients and --static exclude each other", hint="one evaluation, one kind of client")
    if options.counsellors and not (options.clients or options.static or options.safety is not False):
        raise UsageError("the counsellors have nobody to talk with", hint="give --clients POSTS or --static FILE")


def _posts(options: RunOptions) -> tuple[Post, ...]:
    if options.clients is None:
        return ()
    posts = first_posts([options.clients], options.limit)
    if not posts:
        raise UsageError(f"{options.clients} holds no post", hint="each post needs a text")
    return posts


def makers() -> dict[str, Maker]:
    """Every strategy that `--counsellor` knows."""
    from evaluators.counsellors import MAKERS
    from evaluators.table import Table
    from graphs.team import Team, without
    from psyllm.settings import Rules

    def team(left_out: str, table: Table, model: str) -> Team:
        modality = "no_modality" if left_out == "modality" else "person_centred"
        library = Library(HERE / "team")
        cast = table.cast(model, Rules(seed=table.caller.seed), library)
        if left_out in ("diagnostician", "critic"):
            cast = without(cast, "diagnostician" if left_out == "diagnostician" else "critic")
        return Team(cast, library.modality(modality))

    return MAKERS | {name: partial(team, name.removeprefix("graph").removeprefix("_no_")) for name in GRAPH}


async def _run(
    settings: Settings,
    options: RunOptions,
    spec: Spec,
    rubrics: tuple[Rubric, ...],
    posts: tuple[Post, ...],
    names: tuple[str, ...],
) -> None:
    from evaluators import bench, store
    from evaluators.dialogues import existing, histories
    from evaluators.table import laid

    loop = asyncio.get_running_loop()
    stop: list[Caller] = []
    failures: list[Failure] = []

    def on_failure(failure: Failure) -> None:
        failures.append(failure)
        for caller in stop:
            loop.call_soon_threadsafe(caller.stopping.set)

    library = Library(settings.prompts)
    refs = (*(one.ref for one in rubrics), *(file.ref for file in library.roles.values()))
    facts = _fingerprint(settings, spec, names, refs)
    with ExitStack() as stack:
        journal = Journal.open(options.out, facts, __version__, on_failure)
        stack.callback(journal.close)
        journal.add_posts(enumerate(posts))
        journal.add_prompts((file.ref, file.path.read_text(encoding="utf-8")) for file in library.files())
        async with laid(settings, names, journal, library, spec.seed, options.concurrency) as table:
            stop.append(table.caller)
            places = sum(endpoint.places for endpoint in table.endpoints.values())
            fixed = list(histories(options.static, table.knowledge))[: options.limit] if options.static else []
            given = [
                talk
                for path in options.dialogues
                for talk in list(existing(path, table.knowledge, spec.seed))[: options.limit]
            ]
            with _interruptible(loop, table.caller), _progress() as progress:
                try:
                    results = await bench.run(table, spec, rubrics, makers(), posts, fixed, given, 2 * places, progress)
                except Failure as failure:
                    raise failures[0] if failures else failure from None
            journal.flush()
            head = store.header(
                spec,
                software_version=__version__,
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
                rubrics=[one.ref for one in rubrics],
                prompts=[file.ref for file in library.roles.values()],
                seats=[
                    {"name": name, "model": m.model, "kind": m.kind, "sampling": m.sampling}
                    for name, m in ((name, settings.models[name]) for name in names)
                ],
                unsuitable=results.unsuitable,
                rehearsal=any(settings.models[name].kind == "rehearsal" for name in names),
            )
            store.write(options.out, head, rubrics, results)
            _farewell(table.caller, results, head.rehearsal)


def _fingerprint(settings: Settings, spec: Spec, names: tuple[str, ...], refs: Any) -> dict[str, Any]:
    """What the results depend on besides the clients' posts, by dotted name."""
    facts: dict[str, Any] = {f"eval.{key}": value for key, value in asdict(spec).items()}
    for name in names:
        model = settings.models[name]
        facts[f"models.{name}"] = f"{model.model} ({model.kind})"
        facts[f"models.{name}.sampling"] = model.sampling
    return facts | {f"prompts.{ref.id}": f"{ref.version}#{ref.sha256}" for ref in refs}


@contextmanager
def _interruptible(loop: asyncio.AbstractEventLoop, caller: Caller) -> Iterator[None]:
    """SIGINT and SIGTERM stop cleanly; a second one stops at once."""
    task = asyncio.current_task()

    def stop() -> None:
        if caller.stopping.is_set() and task:
            task.cancel()
            return
        console.print("stopping: calls in flight may end; once more stops at once", style="yellow")
        caller.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar a stage; one line a finished stage where stderr is no terminal."""
    bars = Progress(
        TextColumn("{task.description:<14}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        expand=True,
        disable=not console.is_terminal,
    )
    known: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in known:
            known[stage] = bars.add_task(stage, total=total)
        bars.update(known[stage], completed=done)
        if not console.is_terminal and done == total:
            console.print(f"{stage}: {total}")

    with bars:
        yield show


def _farewell(caller: Caller, results: Any, rehearsal: bool) -> None:
    meter = caller.meter
    cost = None if meter.unpriced else meter.cost_usd
    console.print(
        f"{len(results.talks)} talks, {len(results.ratings)} scores, {len(results.preferences)} comparisons; "
        f"{meter.calls} calls, {meter.reused} from the journal, tokens {tokens(meter.usage['prompt'])} in, "
        f"{tokens(meter.usage['completion'])} out, {dollars(cost)}"
    )
    for line in unusable(results):
        console.print(line, style="yellow", soft_wrap=True)
    if failed := [talk for talk in results.talks if talk.failed]:
        console.print(f"{len(failed)} talk(s) failed; the same command tries again", style="yellow")
    for post, why in results.unsuitable.items():
        console.print(f"no client was made of post {post}: {why}", style="yellow")
    if rehearsal:
        console.print(REHEARSAL.replace("training", "conclusions"), style="yellow")


def unusable(results: Results) -> Iterator[str]:
    """A line a judge of whose answers some are no score and no `cannot be scored`."""
    for what, answers in (("scores", results.ratings), ("comparisons", results.preferences)):
        told: dict[str, Counter[str]] = {}
        for answer in answers:
            told.setdefault(answer.judge, Counter())[answer.told] += 1
        for judge, counts in told.items():
            lost = [f"{counts[kind]} {why}" for kind, why in _LOST.items() if counts[kind]]
            if lost:
                usable = counts["scored"] + counts["answered"]
                null = f"; {counts['null']} cannot be scored, by its word" * bool(counts["null"])
                yield f"judge {judge}: {usable} of {counts.total()} {what} can be used; {', '.join(lost)}{null}"
