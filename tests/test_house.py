"""The house stands as docs/architecture.md says: imports point downwards only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "psyllm": set(),
    "clinical": {"psyllm"},
    "prompts": {"psyllm"},
    "agents": {"psyllm", "clinical", "prompts"},
    "corpus": {"psyllm", "prompts"},
    "graphs": {"psyllm", "clinical", "prompts", "agents", "corpus"},
    "evaluators": {"psyllm", "clinical", "prompts", "agents", "corpus"},
    "trainer": {"psyllm", "prompts", "corpus"},
    "app": {"psyllm", "clinical", "prompts", "agents", "corpus", "graphs", "evaluators", "trainer"},
}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names & MAY_IMPORT.keys()


@pytest.mark.parametrize("floor", MAY_IMPORT)
def test_imports_point_downwards(floor: str) -> None:
    for file in (ROOT / floor).rglob("*.py"):
        assert imported(file) <= MAY_IMPORT[floor] | {floor}, file


def test_the_rehearsal_knows_only_what_it_is_sent() -> None:
    for file in (ROOT / "psyllm" / "rehearsal").rglob("*.py"):
        assert imported(file) <= {"psyllm"}, file
        assert "psyllm.records" not in file.read_text(encoding="utf-8"), file
