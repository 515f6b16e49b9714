"""Draws what a terminal shows as SVG: python docs/terminal.py docs/status.svg 100 -- psyllm status runs/demo

The command runs in a real pseudo-terminal of that many columns; what is left on its screen is drawn.
"""

from __future__ import annotations

import io
import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def capture(command: list[str], columns: int) -> str:
    """Everything that the command wrote to its terminal."""
    os.environ |= {"COLUMNS": str(columns), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    chunks: list[bytes] = []

    def read(descriptor: int) -> bytes:
        chunks.append(os.read(descriptor, 65536))
        return chunks[-1]

    pty.spawn(command, read)
    return b"".join(chunks).decode()


def draw(text: str, columns: int, title: str) -> str:
    """The text as SVG, in the reader's own monospace font."""
    console = Console(record=True, width=columns, file=io.StringIO())
    for line in text.replace("\r\n", "\n").splitlines():
        console.print(Text.from_ansi(line.rsplit("\r", 1)[-1]), soft_wrap=True)
    svg = console.export_svg(title=title)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")


if __name__ == "__main__":
    target, width, _, *command = sys.argv[1:]
    shown = " ".join(["psyllm", *command[1:]])
    Path(target).write_text(draw(capture(command, int(width)), int(width), shown), encoding="utf-8")
