"""What a trained model folder says of itself: training.json, a model card and a plot of the loss."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from psyllm import __version__
from trainer.checkpoints import finish
from trainer.recipe import Recipe

LIMITS = """It is research software. It diagnoses nobody, replaces no clinician and is no crisis service. It was trained
on dialogues written by models; no person was counselled, and no clinician has checked its replies. It can miss danger,
invent facts and sound surer than it is. Show it to nobody who seeks help. Its reasoning is a learned text, not an
account of how its reply came about. `{crisis_contacts}` in a reply is a place for contacts that you have checked."""


def record(stage: str, recipe: Recipe, data: dict[str, Any]) -> dict[str, Any]:
    """What training.json holds from the start."""
    packages = {name: version(name) for name in ("torch", "transformers", "trl", "accelerate", "peft", "datasets")}
    return {
        "stage": stage,
        "recipe": recipe,
        "data": data,
        "software": {"psyllm": __version__, "python": platform.python_version()} | packages,
    }


def write_card(
    folder: Path, facts: dict[str, Any], log: Sequence[dict[str, Any]], *, finished: bool, extra: str = ""
) -> None:
    """loss.svg, README.md and the log in training.json; `extra` is a section of the stage's own."""
    finish(folder, {"finished": finished, "log": list(log)})
    plot_loss(log, folder / "loss.svg", title=folder.name)
    (folder / "README.md").write_text(_card(folder.name, facts, log, finished, extra), encoding="utf-8")


def plot_loss(log: Sequence[dict[str, Any]], file: Path, *, title: str) -> None:
    """Training and held-out loss by step."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with mpl.rc_context({"svg.hashsalt": "psyllm", "font.size": 10}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for key, label, style in (("loss", "training", "-"), ("eval_loss", "held-out dialogues", "o-")):
            points = [(entry["step"], entry[key]) for entry in log if key in entry]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=label, linewidth=1.4, markersize=4)
        axes.set(xlabel="optimizer step", ylabel="loss per token (nats)", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
        figure.savefig(file, metadata={"Date": None})


def _card(name: str, facts: dict[str, Any], log: Sequence[dict[str, Any]], finished: bool, extra: str) -> str:
    data, recipe = facts["data"], facts["recipe"]
    base = str(recipe.get("model_name_or_path", ""))
    matter = {"library_name": "transformers", "base_model": base, "pipeline_tag": "text-generation", "tags": ["psyllm"]}
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    steps = max((entry.get("step", 0) for entry in log), default=0)
    epochs = max((entry.get("epoch", 0) for entry in log), default=0)
    lines = [
        "---",
        yaml.safe_dump(matter, sort_keys=False).strip(),
        "---",
        "",
        f"# {name}",
        "",
        f"`{base}`, {facts['stage']} with psyllm on {data['dialogues']} dialogues ({data['turns']} counsellor turns);"
        f" {data['held_out_dialogues']} more were held out.",
        "" if finished else "\n**Unfinished: training was stopped.**\n",
        "## Limits of use",
        "",
        LIMITS,
        "",
    ]
    if data["rehearsal_dialogues"]:
        lines += [
            f"**{data['rehearsal_dialogues']} of the dialogues are stand-in words of the rehearsal backend. "
            "This model is good for trying the software and for nothing else.**",
            "",
        ]
    lines += [
        "## Training",
        "",
        f"{steps} steps, {epochs:.2g} epochs." + (f" Loss on held-out dialogues: {losses[-1]:.4f}." if losses else ""),
    ]
    lines += ["", "![loss](loss.svg)", "", "```yaml", yaml.safe_dump(recipe, sort_keys=False).strip(), "```", ""]
    lines += [extra, ""] if extra else []
    lines += ["## Data", "", f"`{data['path']}`, sha256 `{data['sha256']}`.", ""]
    for key, title in (
        ("license", "licence of the source post"),
        ("source", "source"),
        ("modality", "modality"),
        ("severity", "severity"),
        ("system_prompt", "counsellor prompt (id@version#hash)"),
    ):
        if counts := data.get(key):
            lines += [
                f"| {title} | dialogues |",
                "|---|---|",
                *(f"| {_cell(k)} | {n} |" for k, n in counts.items()),
                "",
            ]
    software = ", ".join(f"{package} {number}" for package, number in facts["software"].items())
    lines += ["The weights of the base model keep their own licence.", "", "## Software", "", software, ""]
    return "\n".join(lines)


def _cell(words: str) -> str:
    """Words of a data set, as they are: no markup, no new columns."""
    return f"`{words}`" if not set(words) & set("`|\n\r") else repr(words).replace("|", "/").replace("`", "'")
