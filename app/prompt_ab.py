"""`psyllm prompt ab`: two versions of a prompt over the same posts and seeds, compared pair by pair."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from agents.cast import checked_library
from app.grow import GrowOptions
from app.prompt_arms import FEWEST, Calls, Estimate, Pair, estimate, grow_arms, lay_out, outcome, post_ids, run_name
from app.prompt_versions import resolve
from app.screen import COLOURS, REHEARSAL, STOPPED, out
from psyllm.errors import UsageError
from psyllm.records import Dialogue, Status
from psyllm.settings import load_settings


@dataclass(frozen=True)
class AbOptions:
    """What the command line said; None means: as psyllm.toml says."""

    a: str
    b: str
    posts: tuple[Path, ...]
    limit: int
    repeats: int
    out: Path | None
    profile: str | None
    prompts: Path | None
    settings: Path | None


def ab_command(options: AbOptions) -> None:
    """Grow both arms, print the paired table. Raises UsageError for versions that cannot be compared."""
    settings = load_settings(options.settings)
    overlay = options.prompts or settings.prompts
    versions = resolve(options.a, overlay), resolve(options.b, overlay)
    if versions[0].kind != versions[1].kind:
        raise UsageError(
            f"{versions[0].id} and {versions[1].id} are no versions of one thing", hint="compare like with like"
        )
    if versions[0].text == versions[1].text:
        raise UsageError(f"{options.a} and {options.b} are the same text, {versions[0]}", hint="psyllm prompt diff A B")
    library = checked_library(overlay)
    for version in versions:
        version.check()
    name = run_name(settings, options.profile, library, settings.grow.modalities, *(v.sha256 for v in versions))
    folder = options.out or Path("runs") / f"ab-{versions[1].id}-{name}"
    arms = folder / "a", folder / "b"
    for arm, version in zip(arms, versions, strict=True):
        lay_out(arm, version, overlay)
    growing = GrowOptions(
        posts=list(options.posts),
        run=folder,
        limit=options.limit,
        profile=options.profile,
        seed=settings.grow.seed,
        settings=options.settings,
        failed="too",
    )
    code = grow_arms(arms, versions, options.repeats, growing)
    if code == STOPPED:
        sys.exit(code)
    found = outcome(*arms, options.repeats, post_ids(options.posts, options.limit))
    for arm, version in zip(arms, versions, strict=True):
        out.print(Text(f"{arm.name}  {version}   {version.origin}", style="bold"), soft_wrap=True)
    out.print(_calls(found.calls), soft_wrap=True)
    if found.screened_out:
        out.print(f"{found.screened_out} screened out on both sides, left out")
    if found.failed:
        out.print(f"{found.failed} failed on a side, left out; the same command tries again", style="yellow")
    out.print()
    out.print(_table(found.pairs))
    out.print()
    _print_changed([pair for pair in found.pairs if pair.changed], len(found.pairs), arms)
    if any(pair.b.provenance.rehearsal for pair in found.pairs):
        out.print(REHEARSAL, style="yellow")
    sys.exit(code)


def _calls(calls: Calls) -> str:
    made = calls.b - calls.shared
    return f"calls: a {calls.a} made; b {made} made, {calls.shared} the same as a's and taken over from its journal"


# ---------------------------------------------------------------- the paired table

_Measure = Callable[[Pair], tuple[float, float] | None]


def _table(pairs: Sequence[Pair]) -> Table:
    posts = len({pair.a.post_id for pair in pairs})
    title = f"{len(pairs)} pairs over {posts} posts; difference b - a with its 95% interval"
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("", "a", "b", "difference", "interval", "posts"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, form, measure in _measures(pairs):
        values = [(pair.a.post_id, *both) for pair in pairs if (both := measure(pair)) is not None]
        table.add_row(name, *_row(estimate(values), form, "no price" if measure is _cost else "no marks"))
    return table


def _row(found: Estimate | None, form: str, missing: str) -> tuple[str | Text, ...]:
    if found is None:
        return ("-", "-", "-", Text(missing, style="dim"), "0")
    difference = format(found.difference, "+" + form)
    if found.low is None or found.high is None:
        told = Text(f"fewer than {FEWEST} posts: none", style="dim")
    else:
        clear = found.low > 0 or found.high < 0
        told = Text(f"{found.low:+{form}} to {found.high:+{form}}", style="bold" if clear else "")
    return (format(found.a, form), format(found.b, form), difference, told, str(found.posts))


def _measures(pairs: Sequence[Pair]) -> list[tuple[str, str, _Measure]]:
    """(name, number format, what to take of a pair; None where it has no value)."""
    scores = sorted({name for pair in pairs for d in (pair.a, pair.b) for name in _scores(d)})
    return [
        ("accepted", ".1%", lambda pair: _both(pair, lambda d: float(d.status is Status.ACCEPTED))),
        *((f"score {name}", ".2f", _score(name)) for name in scores),
        ("turns sent back", ".2f", lambda pair: _both(pair, _sent_back)),
        ("tokens in", ",.0f", lambda pair: (pair.spent_a.prompt_tokens, pair.spent_b.prompt_tokens)),
        ("tokens out", ",.0f", lambda pair: (pair.spent_a.completion_tokens, pair.spent_b.completion_tokens)),
        ("cost in USD", ".5f", _cost),
    ]


def _both(pair: Pair, take: Callable[[Dialogue], float]) -> tuple[float, float]:
    return take(pair.a), take(pair.b)


def _score(name: str) -> _Measure:
    def measure(pair: Pair) -> tuple[float, float] | None:
        a, b = _scores(pair.a).get(name), _scores(pair.b).get(name)
        return None if a is None or b is None else (a, b)

    return measure


def _scores(dialogue: Dialogue) -> dict[str, float]:
    """The critic's marks of the replies, each averaged over the dialogue."""
    marks = [turn.critique.scores for turn in dialogue.turns if turn.critique and turn.critique.scores]
    return {name: sum(each[name] for each in marks) / len(marks) for name in (marks[0] if marks else ())}


def _sent_back(dialogue: Dialogue) -> float:
    return float(sum(len(turn.drafts) + len(turn.client_drafts) for turn in dialogue.turns))


def _cost(pair: Pair) -> tuple[float, float] | None:
    a, b = pair.spent_a.cost_usd, pair.spent_b.cost_usd
    return None if a is None or b is None else (a, b)


# ---------------------------------------------------------------- what changed


def _print_changed(changed: Sequence[Pair], total: int, arms: tuple[Path, Path]) -> None:
    if not changed:
        out.print(f"no dialogue of {total} changed")
        return
    table = Table(title=f"{len(changed)} of {total} dialogues changed", title_justify="left", box=None, pad_edge=False)
    for heading in ("post", "repeat", "dialogue", "a", "b", "from"):
        table.add_column(heading, no_wrap=heading in ("repeat", "dialogue", "from"))
    for pair in changed:
        table.add_row(pair.a.post_id, str(pair.repeat), pair.a.id, _end(pair.a), _end(pair.b), _first_change(pair))
    out.print(table)
    first = changed[0]
    for arm in arms:
        line = f"psyllm trace show {arm / str(first.repeat)} {first.a.id}"
        out.print(Text(line, style="dim"), soft_wrap=True)


def _end(dialogue: Dialogue) -> Text:
    codes = ", ".join(reason.code for reason in dialogue.reasons)
    return Text(f"{dialogue.status.replace('_', ' ')}{f': {codes}' if codes else ''}", style=COLOURS[dialogue.status])


def _first_change(pair: Pair) -> str:
    """Where the two part ways."""
    if pair.a.plan != pair.b.plan:
        return "the plan"
    for number, (a, b) in enumerate(zip(pair.a.turns, pair.b.turns, strict=False), 1):
        if a.client != b.client or a.client_drafts != b.client_drafts:
            return f"round {number}, the client"
        if a != b:
            return (
                f"round {number}, the reply"
                if a.reply != b.reply or a.drafts != b.drafts
                else f"round {number}, the critic"
            )
    return "the end"
