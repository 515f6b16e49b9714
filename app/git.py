"""What git says of a folder, where there is a git and a checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> bytes | None:
    """The standard output of a git command run there; None if it fails, or there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)  # noqa: S607 (the user's git)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
