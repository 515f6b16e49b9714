"""`psyllm intake`: sources in, one clean JSONL file out, and what each step did to how many posts."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, get_args

from pydantic import ValidationError
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from app.embedding import EmbeddingOptions, embedder
from app.screen import STOPPED, console, out
from corpus.held_out import HeldOut, held_out
from corpus.intake import STEPS, Decision, Taken, take_in
from corpus.posts import Field, Raw, Reader, Recipe, used_twice
from corpus.seen import TOGETHER, Seen
from psyllm.errors import Failure, UsageError
from psyllm.records import Post, Reason
from psyllm.runs import Run

_COLOURS = {"kept": "dim", "changed": "cyan", "flagged": "yellow", "out": "red"}


@dataclass(frozen=True)
class IntakeOptions:
    """What the command line said."""

    sources: list[str]
    out: Path | None
    columns: list[str]
    recipe: Path | None
    client_roles: list[str]
    source: str | None
    license: str | None
    retrieved: str | None
    split: str | None
    config: str | None
    against: list[Path]
    held_out: list[Path]
    limit: int | None
    keep_all: bool
    keep_raw: bool
    skip_invalid: bool
    explain: str | None
    embeddings: EmbeddingOptions


@dataclass
class Counts:
    """What happened to the posts."""

    read: int = 0
    kept: int = 0
    by_step: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(step, verdict) -> posts."""
    replaced: Counter[str] = field(default_factory=Counter)
    """Kind of personal data -> placeholders put in."""
    origins: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(source, licence) -> posts kept."""

    def add(self, taken: Taken, *, kept: bool) -> None:
        self.read += 1
        self.kept += kept
        self.by_step.update((decision.step, decision.verdict) for decision in taken.decisions)
        done = taken.post.metadata.get("intake")
        if kept and isinstance(done, dict) and isinstance(scrubbed := done.get("scrubbed"), dict):
            self.replaced.update({kind: n for kind, n in scrubbed.items() if isinstance(n, int)})
        if kept:
            self.origins[taken.post.source, taken.post.license] += 1


def intake_command(options: IntakeOptions) -> None:
    """Write the file, or explain one post. Raises UsageError or Failure; exits with 130 after Ctrl-C."""
    recipe = _recipe(options)
    reader = Reader(recipe.sources(options.sources), recipe, skip_invalid=options.skip_invalid)
    meaning = options.embeddings.resolved()
    try:
        with held_out(options.held_out) as tests, Seen(embedder(meaning.model), meaning.similar) as seen:
            _remember(seen, options)
            taken = _compared(islice(_taken(reader, seen, options), options.limit), seen, tests)
            if options.explain is not None:
                out.print(_explained(taken, options.explain, keep_all=options.keep_all))
                return
            if options.out is None:
                raise UsageError("no file to write to", hint="name one with --out posts.jsonl")
            _write(reader, taken, options, options.out)
    except KeyboardInterrupt:
        console.print("stopped; nothing was written", style="yellow")
        sys.exit(STOPPED)


def _recipe(options: IntakeOptions) -> Recipe:
    """The recipe file, with what the command line says in its place."""
    recipe = Recipe.load(options.recipe) if options.recipe else Recipe()
    columns: dict[str, str] = {str(name): column for name, column in recipe.columns.items()}
    for pair in options.columns:
        name, equals, column = pair.partition("=")
        if not equals or name not in get_args(Field) or not column:
            raise UsageError(
                f"--map {pair!r} is not FIELD=COLUMN",
                hint=f"fields: {', '.join(get_args(Field))}; e.g. --map text=body",
            )
        columns[name] = column
    given = {name: getattr(options, name) for name in ("source", "license", "retrieved", "split", "config")}
    changes = {name: value for name, value in given.items() if value is not None}
    if options.client_roles:
        changes["client_roles"] = tuple(options.client_roles)
    try:
        return Recipe.model_validate(recipe.model_dump() | changes | {"columns": columns})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        hint = "write YYYY-MM-DD" if name == "retrieved" else "see `psyllm intake --help`"
        raise UsageError(f"--{name} {first['input']!r}: {first['msg']}", hint=hint) from error


def _remember(seen: Seen, options: IntakeOptions) -> None:
    """What no post may be nearly the same as."""
    for folder in options.against:
        with Run(folder) as run:
            seen.remember((f"{post.id} of {folder}", post.words) for post in run.posts())


def _taken(reader: Reader, seen: Seen, options: IntakeOptions) -> Iterator[tuple[Raw, Taken]]:
    """Every post after all steps that look at it alone."""
    for raw in reader:
        if not seen.new_id(raw.post.id):
            if raw.named:
                if not options.skip_invalid:
                    raise used_twice(raw)
                reader.skip(str(used_twice(raw)))
                continue
            again = raw.post.model_copy(update={"id": f"{raw.post.id}-{reader.rows}"})
            yield raw, take_in(Raw(again, raw.origin, raw.place, raw.author))
            continue
        yield raw, take_in(raw, keep_raw=options.keep_raw)


def _compared(taken: Iterator[tuple[Raw, Taken]], seen: Seen, tests: HeldOut) -> Iterator[tuple[Raw, Taken]]:
    """With the last step: posts that are in are compared, and remembered for those that follow."""
    while some := list(islice(taken, TOGETHER)):
        told = {n: tests.finds(one.post) for n, (_, one) in enumerate(some) if not one.post.screened}
        free = [n for n, why in told.items() if not why]
        alike = dict(zip(free, seen.sift([(some[n][1].post.id, some[n][1].post.words) for n in free]), strict=True))
        for n, (raw, one) in enumerate(some):
            if n not in told:
                yield raw, _decided(one, "", "not compared")
            elif told[n]:
                yield raw, _decided(one, "held_out", f"in a test set: {told[n]}")
            else:
                match = alike[n]
                yield raw, _decided(one, "near_duplicate" if match and match.same else "", str(match or ""))


def _decided(taken: Taken, code: str, detail: str) -> Taken:
    """With what the comparison said; a code leaves the post out."""
    decision = Decision("duplicates", "out" if code else "kept", detail)
    reason = Reason(code=code, role="run", detail=detail) if code else taken.post.screened
    return Taken(taken.post.model_copy(update={"screened": reason}), (*taken.decisions, decision))


# ---------------------------------------------------------------- writing


def _write(reader: Reader, taken: Iterator[tuple[Raw, Taken]], options: IntakeOptions, path: Path) -> None:
    counts = Counts()
    with _whole_file(path) as file, _progress(reader):
        for _, one in taken:
            kept = options.keep_all or one.post.screened is None
            counts.add(one, kept=kept)
            if kept:
                file.write(_line(one.post))
        if not counts.kept:
            out.print(_table(counts, reader))
            raise UsageError(
                f"nothing is left of {counts.read + reader.skipped} rows; {path} was not written",
                hint="--explain ID shows why for one of them; --keep-all screens nothing out",
            )
    out.print(_table(counts, reader))
    _say_the_rest(counts, reader, path)


def _line(post: Post) -> str:
    """One line of the file: what is empty is left out, an unknown licence is said."""
    fields = {name: value for name, value in post.model_dump(mode="json").items() if value not in ("", [], {}, None)}
    return json.dumps(fields, ensure_ascii=False) + "\n"


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[str]]:
    """A file that is there whole or not at all. Raises UsageError if it exists, Failure if it cannot be written."""
    if path.exists():
        raise UsageError(f"{path} exists", hint="give another --out, or remove it")
    if not path.parent.is_dir():
        raise UsageError(f"folder {path.parent} does not exist", hint=f"mkdir -p {path.parent}")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        raise Failure(
            "store", f"{path} cannot be written: {error.strerror or error}", hint="make room, or give another --out"
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _progress(reader: Reader) -> Iterator[None]:
    """A bar of bytes read while the sources are read, on a terminal."""
    total = reader.size()
    bar = Progress(
        TextColumn("[bold]reading"), BarColumn(bar_width=None), DownloadColumn(), TextColumn("left"),
        TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("reading", total=total)
        tell: Callable[[int], None] = lambda done: bar.update(task, completed=done)  # noqa: E731
        reader.on_bytes = tell
        yield


def _table(counts: Counts, reader: Reader) -> Table:
    rows = counts.read + reader.skipped
    table = Table(title=f"{rows:,} rows", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("step", "looks for", "out", "changed"):
        table.add_column(heading, justify="right" if heading in ("out", "changed") else "left")
    if reader.skipped:
        table.add_row("read", "rows that are no posts", Text(f"{reader.skipped:,}", style="red"), "")
    for step, looks_for in STEPS.items():
        left = counts.by_step[step, "out"]
        changed = counts.by_step[step, "changed"] + counts.by_step[step, "flagged"]
        table.add_row(
            step,
            looks_for,
            Text(f"{left:,}" if left else "", style="red"),
            Text(f"{changed:,}" if changed else "", "cyan"),
        )
    table.add_row("kept", "", "", Text(f"{counts.kept:,}", style="bold green"))
    return table


def _say_the_rest(counts: Counts, reader: Reader, path: Path) -> None:
    if counts.replaced:
        kinds = ", ".join(f"{kind.lower().replace('_', ' ')} {n:,}" for kind, n in counts.replaced.most_common())
        out.print(f"replaced in what was kept: {kinds}", soft_wrap=True)
    for (source, license), n in counts.origins.most_common(8):
        known = license != "unknown"
        out.print(f"{n:,} from {source}, licence {license}", style=None if known else "yellow", soft_wrap=True)
    if any(license == "unknown" for _, license in counts.origins):
        out.print("licence unknown: say it with --license if you know it; it is never guessed", style="yellow")
    if recoded := sum(source.recoded for source in reader.sources):
        out.print(f"not UTF-8, read as what they most likely are: {recoded:,} lines", style="yellow")
    for note in (note for source in reader.sources for note in source.notes):
        out.print(note, style="yellow", soft_wrap=True)
    for mistake in reader.mistakes[:5]:
        out.print(f"  {mistake}", style="yellow", soft_wrap=True)
    console.print(f"{path} written; next: psyllm grow {path} --run runs/mine", style="dim", soft_wrap=True)


# ---------------------------------------------------------------- one post


def _explained(taken: Iterator[tuple[Raw, Taken]], wanted: str, *, keep_all: bool) -> Table:
    """What each step decided. Raises UsageError if no post has this id."""
    for raw, one in taken:
        if wanted in (raw.named, raw.post.id, one.post.id):
            return _decisions(raw, one, keep_all=keep_all)
    raise UsageError(f"no post has the id {wanted!r}", hint="ids stand in the first column of the source, or in --out")


def _decisions(raw: Raw, taken: Taken, *, keep_all: bool) -> Table:
    left_out = taken.post.screened is not None and not keep_all
    title = f"{raw.place}: {taken.post.id}, {'left out' if left_out else 'kept'}"
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False, show_footer=True)
    table.add_column("step")
    table.add_column("verdict")
    table.add_column("why", overflow="fold")
    for decision in taken.decisions:
        table.add_row(decision.step, Text(decision.verdict, style=_COLOURS[decision.verdict]), Text(decision.detail))
    table.add_row("", "", "")
    table.add_row("text", Text("scrubbed", style="dim"), Text(taken.post.words))
    return table
