"""`psyllm prompt try`: a few dialogues with the edited prompt, shown as they come out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from agents.cast import checked_library
from app.grow import GrowOptions, grow
from app.prompt_arms import post_ids, run_name
from app.screen import STOPPED, out
from app.show import render
from psyllm.runs import Run
from psyllm.settings import load_settings


def try_command(
    name: str,
    posts: Sequence[Path],
    limit: int,
    run: Path | None,
    profile: str | None,
    prompts: Path | None,
    settings_file: Path | None,
) -> None:
    """Grow and show. The run folder belongs to these prompts and settings: the same command shows it again, unpaid."""
    settings = load_settings(settings_file)
    library = checked_library(prompts or settings.prompts)
    file = library.find(name)
    only = (name,) if file.kind == "modality" else ()
    folder = run or Path("runs") / f"try-{name}-{run_name(settings, profile, library, only)}"
    options = GrowOptions(
        posts=list(posts),
        run=folder,
        limit=limit,
        profile=profile,
        modalities=only,
        prompts=prompts,
        settings=settings_file,
        failed="too",
    )
    code = grow(options)
    if code == STOPPED:
        sys.exit(code)
    wanted = post_ids(posts, limit)
    with Run(folder) as made:
        for dialogue in made.dialogues():
            if dialogue.post_id in wanted:
                out.print(render(dialogue))
    sys.exit(code)
