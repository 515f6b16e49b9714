"""The two arms of `psyllm prompt ab`: the same posts and seeds under two versions of a prompt.

runs/ab-cbt-0123abcd/a/prompts      arm a's prompts: yours, with its version in its place
runs/ab-cbt-0123abcd/a/1            a run like any other; 2, 3, ... are the repeats, each under its own seed
runs/ab-cbt-0123abcd/b/1            takes over every call that a/1 has paid and that is the same
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.grow import GrowOptions, grow
from app.prompt_versions import Version
from app.screen import STOPPED, console
from corpus.posts import read_posts
from corpus.scrub import scrubbed
from graphs.table import fingerprint
from prompts.library import FOLDERS, Library
from psyllm.records import Dialogue, Status
from psyllm.runs import Run
from psyllm.runs.find import Listed, find
from psyllm.runs.index import Index
from psyllm.settings import Settings

RESAMPLES = 10_000
FEWEST = 5
"""Posts under which no interval is given: a bootstrap of fewer says nothing."""


def run_name(settings: Settings, profile: str | None, library: Library, modalities: Sequence[str], *more: str) -> str:
    """8 hex digits of everything that decides these dialogues."""
    facts = fingerprint(settings, profile, settings.rules, library) | {"modalities": modalities, "more": more}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def post_ids(files: Sequence[Path], limit: int) -> list[str]:
    """The ids that `grow` gives the first posts of these files."""
    return [scrubbed(post).id for post in read_posts(files).posts[:limit]]


def lay_out(folder: Path, version: Version, overlay: Path | None) -> None:
    """Write an arm's prompts: the user's own, with one version in its place."""
    prompts = folder / "prompts"
    for name in FOLDERS.values():
        (prompts / name).mkdir(parents=True, exist_ok=True)
        for path in sorted((overlay / name).glob("*.md")) if overlay else ():
            shutil.copy(path, prompts / name)
    (prompts / FOLDERS[version.kind] / f"{version.id}.md").write_text(version.text, encoding="utf-8")


def grow_arms(folders: tuple[Path, Path], versions: tuple[Version, Version], repeats: int, options: GrowOptions) -> int:
    """Grow every repeat of both arms; the exit code of the worst."""
    seed = options.seed or 0
    worst = 0
    for repeat in range(1, repeats + 1):
        before: Path | None = None
        for folder, version in zip(folders, versions, strict=True):
            console.print(f"arm {folder.name}, {version}, repeat {repeat}", style="bold")
            run = folder / str(repeat)
            arm = replace(
                options,
                run=run,
                prompts=folder / "prompts",
                seed=seed + repeat - 1,
                modalities=(version.id,) if version.kind == "modality" else options.modalities,
                answers_from=before,
            )
            code = grow(arm)
            if code == STOPPED:
                return code
            worst, before = max(worst, code), run
    return worst


@dataclass(frozen=True)
class Pair:
    """The same post and seed under both versions."""

    repeat: int
    """1-based."""
    a: Dialogue
    spent_a: Listed
    b: Dialogue
    spent_b: Listed

    @property
    def changed(self) -> bool:
        """Whether anything but the prompts' names differs."""
        return _content(self.a) != _content(self.b)


def _content(dialogue: Dialogue) -> str:
    return dialogue.model_dump_json(exclude={"provenance"})


@dataclass(frozen=True)
class Calls:
    """Calls of both arms."""

    a: int
    b: int
    shared: int
    """Of b's: those that a had paid already."""


@dataclass(frozen=True)
class Outcome:
    """What there is to compare."""

    pairs: tuple[Pair, ...]
    screened_out: int
    """Pairs that never became a dialogue on either side; in no figure."""
    failed: int
    """Pairs of which a side failed or is missing; in no figure."""
    calls: Calls


def outcome(a: Path, b: Path, repeats: int, posts: Sequence[str]) -> Outcome:
    """The arms' runs, read pair by pair, for these post ids."""
    pairs: list[Pair] = []
    out_on_both = failed = calls_a = calls_b = shared = 0
    for repeat in range(1, repeats + 1):
        one, other = a / str(repeat), b / str(repeat)
        left, right = _finished(one), _finished(other)
        for post in posts:
            if post not in left or post not in right:
                failed += 1
            elif left[post][0].status is right[post][0].status is Status.SCREENED_OUT:
                out_on_both += 1
            else:
                pairs.append(Pair(repeat, *left[post], *right[post]))
        paid_by_a = _payments(one, [left[post][0] for post in posts if post in left])
        paid_by_b = _payments(other, [right[post][0] for post in posts if post in right])
        calls_a, calls_b, shared = (
            calls_a + len(paid_by_a),
            calls_b + len(paid_by_b),
            shared + len(paid_by_a & paid_by_b),
        )
    return Outcome(tuple(pairs), out_on_both, failed, Calls(calls_a, calls_b, shared))


def _finished(folder: Path) -> dict[str, tuple[Dialogue, Listed]]:
    """Post id -> its dialogue and what that took, unless it failed."""
    with Run(folder) as run, Index(run) as index:
        index.refresh()
        took = {row.id: row for row in find(index)}
        return {d.post_id: (d, took[d.id]) for d in run.dialogues() if d.status is not Status.FAILED}


def _payments(folder: Path, dialogues: Sequence[Dialogue]) -> frozenset[tuple[bytes, float]]:
    with Run(folder) as run:
        return run.payments(dialogue.id for dialogue in dialogues)


@dataclass(frozen=True)
class Estimate:
    """A paired difference, b minus a."""

    a: float
    b: float
    posts: int
    low: float | None
    """Ends of the 95% interval: percentiles of a bootstrap over posts; None where there are too few."""
    high: float | None

    @property
    def difference(self) -> float:
        return self.b - self.a


def estimate(values: Sequence[tuple[str, float, float]]) -> Estimate | None:
    """From (post id, a, b) of each pair; repeats of a post are averaged first. None without a pair."""
    posts: dict[str, list[tuple[float, float]]] = {}
    for post, one, other in values:
        posts.setdefault(post, []).append((one, other))
    if not posts:
        return None
    means = np.array([np.mean(pairs, axis=0) for pairs in posts.values()])
    a, b = means.mean(axis=0)
    low = high = None
    if len(means) >= FEWEST:
        drawn = np.random.default_rng(0).integers(0, len(means), (RESAMPLES, len(means)))
        low, high = np.percentile((means[:, 1] - means[:, 0])[drawn].mean(axis=1), (2.5, 97.5))
    return Estimate(float(a), float(b), len(means), low, high)
