"""The README's drawing of the graph is drawn from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphs.dialogue import build_graph

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_shows_the_graph_as_it_is() -> None:
    seatless: Any = None
    drawn = build_graph(seatless).get_graph().draw_mermaid(with_styles=False)
    assert drawn.strip() in README.read_text(encoding="utf-8"), drawn
