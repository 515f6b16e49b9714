"""The output folder of a training run: what it was started with, and the last checkpoint that was saved whole.

A checkpoint's `trainer_state.json` is written last, so a folder without it is an interrupted save.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from psyllm.errors import UsageError

RECORD = "training.json"
STATE = "trainer_state.json"

FREE = {
    *("logging_steps", "logging_strategy", "report_to", "run_name", "save_steps", "save_strategy", "save_total_limit"),
    *("output_dir", "dataloader_num_workers", "disable_tqdm", "log_level"),
}
"""Recipe keys that may differ when a run is gone on with: they change nothing that is learned."""


def whole_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints that were saved whole, the oldest first."""
    return [path for path in _checkpoints(folder) if _whole(path)]


def logs_of(checkpoint: Path) -> list[dict[str, Any]]:
    """The trainer's log up to a checkpoint."""
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = state["log_history"]
    return found


def refuse_folder(folder: Path, *, resume: bool) -> None:
    """Raises UsageError if a run is already there and `resume` was not asked for, or if there is nothing to resume."""
    there = (folder / RECORD).exists()
    if not resume and (there or _checkpoints(folder)):
        raise UsageError(
            f"{folder} already holds a training run",
            hint="--resume goes on with it; --set output_dir=DIR starts another",
        )
    if resume and not there:
        raise UsageError(f"{folder} holds no training run to resume", hint="leave --resume out to start one")


def start(folder: Path, record: dict[str, Any], *, resume: bool) -> tuple[Path | None, list[Path]]:
    """(checkpoint to go on from, interrupted saves that were removed); writes the record of a new run.

    Raises UsageError if a run is already there and `resume` was not asked for, if there is nothing to resume, or if
    recipe or data are not those that it was started with.
    """
    file = folder / RECORD
    refuse_folder(folder, resume=resume)
    if not resume:
        folder.mkdir(parents=True, exist_ok=True)
        _write(file, record)
        return None, []
    changed = differences(json.loads(file.read_text(encoding="utf-8")), record)
    if changed:
        raise UsageError(
            f"{folder} was started differently: {'; '.join(changed)}",
            hint="use the same recipe and data, or start another run with --set output_dir=DIR",
        )
    torn = [path for path in _checkpoints(folder) if not _whole(path)]
    for path in torn:
        shutil.rmtree(path)
    whole = whole_checkpoints(folder)
    return (whole[-1] if whole else None), torn


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of a record differs so that going on would not be the same run."""
    found = []
    old, new = before.get("recipe", {}), now["recipe"]
    for key in sorted((old.keys() | new.keys()) - FREE):
        if old.get(key) != new.get(key):
            found.append(f"{key} was {old.get(key)!r}, is {new.get(key)!r}")
    if before.get("data", {}).get("sha256") != now["data"]["sha256"]:
        found.append(f"data was {before.get('data', {}).get('dialogues')} dialogues of another hash")
    return found


def finish(folder: Path, facts: dict[str, Any]) -> None:
    """Add to the record of a run."""
    file = folder / RECORD
    _write(file, json.loads(file.read_text(encoding="utf-8")) | facts)


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _whole(path: Path) -> bool:
    try:
        json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _write(file: Path, record: dict[str, Any]) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    partial.replace(file)
