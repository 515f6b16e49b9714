"""`psyllm serve`: the vLLM command for a model, and running it."""

from __future__ import annotations

import shlex

from app.screen import console, out
from trainer.serving import command, run, served_name, settings_of


def serve_command(
    model: str, *, port: int, gpus: int, max_length: int | None, executable: str, start: bool, patience_s: float
) -> None:
    """Print the command and the lines of psyllm.toml; with `start`, run it until it is stopped."""
    words = command(model, port=port, gpus=gpus, max_length=max_length, executable=executable)
    if not start:
        out.print(shlex.join(words), soft_wrap=True)
        console.print(f"\npsyllm.toml, to use it:\n\n{settings_of(model, port)}\n", style="dim")
        console.print("--run starts it and waits until it is healthy", style="dim")
        return

    def ready() -> None:
        console.print(f"{served_name(model)} is served at http://127.0.0.1:{port}/v1; Ctrl-C stops it", style="green")

    console.print(shlex.join(words), style="dim", soft_wrap=True)
    try:
        run(words, port, patience_s=patience_s, ready=ready)
    except KeyboardInterrupt:
        console.print("stopped")
