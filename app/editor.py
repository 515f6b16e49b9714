"""A person's editor: a text goes out, the text as they saved it comes back."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from psyllm.errors import UsageError


def edited(text: str, suffix: str) -> str:
    """Open $VISUAL or $EDITOR (or vi) on the text. Raises UsageError if it cannot be started or ends with an error."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"psyllm{suffix}"
        path.write_text(text, encoding="utf-8")
        try:
            subprocess.run([*shlex.split(command), str(path)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise UsageError(f"the editor {command!r} failed: {error}", hint="set EDITOR, e.g. EDITOR=nano") from error
        return path.read_text(encoding="utf-8")
