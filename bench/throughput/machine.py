"""What the machine is, and what it did meanwhile. Loads are read from Linux's /proc; elsewhere they are not known."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def busy_s() -> float | None:
    """CPU seconds spent on the whole machine since it started."""
    try:
        user, nice, system, _, _, irq, softirq, *_ = map(int, (_PROC / "stat").read_text().split("\n")[0].split()[1:])
    except OSError:
        return None
    return (user + nice + system + irq + softirq) / _TICKS


def tree_mib(root: int) -> float:
    """Resident MiB of a process and all its descendants; pages that they share count in each."""
    parents, pages = {}, {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(folder.name)], pages[int(folder.name)] = int(fields[1]), int(fields[21])
    total, to_see = 0, [root]
    while to_see:
        one = to_see.pop()
        total += pages.get(one, 0)
        to_see += [child for child, parent in parents.items() if parent == one]
    return total * _PAGE / 2**20


def described() -> dict[str, Any]:
    """Time, commit, machine and the packages of psyllm's own environment."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_at_start": [round(load, 2) for load in os.getloadavg()],
        "packages": {"psyllm": sorted(f"{dist.name}=={dist.version}" for dist in metadata.distributions())},
    }


def frozen(python: Path) -> list[str]:
    """The packages of another environment."""
    command: list[str | Path] = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def _commit() -> str:
    """The commit checked out, with a + if files differ from it; 'unknown' outside a clone."""
    try:
        told = [
            subprocess.run(["git", *what], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607
            for what in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told[0] + ("+" if told[1] else "")


def _cpu() -> str:
    try:
        lines = (_PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or sys.platform
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
