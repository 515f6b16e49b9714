"""Pages from templates: everything is escaped, nothing is fetched."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.plain import plain
from app.screen import REHEARSAL, dollars, tokens
from app.web.reading import Reading
from psyllm.reasons import meaning

HERE = Path(__file__).parent


@cache
def templates() -> Environment:
    """The environment of every page; `autoescape` is on for all of them."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    environment.filters |= {
        "tokens": tokens,
        "dollars": dollars,
        "words": _words,
        "clock": _clock,
        "ago": _ago,
        "meaning": meaning,
    }
    environment.globals["REHEARSAL"] = REHEARSAL
    return environment


def static_page(title: str, readings: Sequence[Reading]) -> str:
    """One self-contained page: its style is inside, it has no script and needs no network."""
    style = (HERE / "assets" / "style.css").read_text(encoding="utf-8")
    return templates().get_template("page.html").render(title=title, readings=readings, style=style)


def _words(name: str) -> str:
    """screened_out -> screened out"""
    return re.sub(r"[_]+", " ", name)


def _ago(unix: float) -> str:
    seconds = max(0, round(time.time() - unix))
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60} min ago"


def _clock(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
