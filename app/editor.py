"""The person's editor, opened on a file."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

from psyllm.errors import UsageError


def edit(file: Path) -> None:
    """Open $VISUAL, $EDITOR or what there is, and wait. Ctrl-C meanwhile is the editor's, not ours.

    Raises UsageError if it cannot be started or ends with an error.
    """
    wanted = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    command = shlex.split(wanted) if wanted else [_found_editor()]
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.call([*command, str(file)])
    except OSError as error:
        raise UsageError(
            f"cannot start the editor {wanted!r}: {error.strerror}", hint="export EDITOR=nano, or another"
        ) from error
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise UsageError(f"the editor {command[0]!r} ended with {code}; nothing was taken", hint="try again")


def _found_editor() -> str:
    for name in ("sensible-editor", "nano", "vi"):
        if path := shutil.which(name):
            return path
    raise UsageError("no editor was found", hint="export EDITOR=nano, or another")
