"""The embedded model: a real, small language model through the whole path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from psyllm.runs import Run


@pytest.mark.slow
def test_a_real_small_model_is_asked_and_its_dialogues_end_with_a_reason(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "psyllm"),
            *("grow", str(root / "examples" / "posts.jsonl"), "--run", "run"),
            *("--models", "embedded", "--limit", "2", "--rounds", "1-2"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 2 posts done" in done.stderr
    with Run(tmp_path / "run") as run:
        dialogues = list(run.dialogues())
        calls = [call for dialogue in dialogues for call in run.calls(dialogue.id)]
    assert {call.model for call in calls} == {"SmolLM2-135M-Instruct"}
    assert all(call.prompt_tokens > 500 and call.completion_tokens > 0 for call in calls)
    assert any(call.parsed for call in calls), "json_schema output parses"
    assert all(dialogue.reasons or dialogue.status == "accepted" for dialogue in dialogues)
    assert not any(dialogue.provenance.rehearsal for dialogue in dialogues)
