"""A real, small model as counsellor and as judge: the evaluation completes and says how little its scores are worth."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from evaluators import store
from tests.app.conftest import Desk
from tests.conftest import PSYLLM, clean_environment

RUN = "--counsellor embedded --static first.jsonl --dialogues said.jsonl --judges embedded --judges rehearsal"
SHORT = """---
id: short
name: Listening
version: "1.0"
summary: Whether the reply takes up what was said.
family: comparison
items:
  - {id: L1, name: Listening, unit: reply}
---
# L1
**Is** whether the reply takes up what was just said.

- 1: passes over it
- 3: takes up the main point
- 5: finds what mattered most

**Cannot be scored when** never.
"""


@pytest.mark.slow
def test_a_small_model_is_judged_by_itself_and_the_report_does_not_pretend(desk: Desk) -> None:
    rows = [{"id": f"h{n}", "text": f"My mum died in March, number {n}, and I still ring her."} for n in range(2)]
    desk.write("first.jsonl", "\n".join(map(json.dumps, rows)))
    answer = "You still ring her number. What do you hear when it picks up?"
    given = [{"id": row["id"], "messages": list(_said(row["text"], answer))} for row in rows]
    desk.write("said.jsonl", "\n".join(map(json.dumps, given)))
    desk.write("short.md", SHORT)
    ended = subprocess.run(
        [PSYLLM, "eval", "run", *RUN.split(), "--rubrics", "short.md", "--out", "e"],
        cwd=desk.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "without the safety set; answers of at most: embedded 180 tokens" in " ".join(ended.stderr.split())
    told = {rating.told for rating in store.read(desk.folder / "e").ratings if rating.judge == "embedded"}
    assert told and "failed" not in told, "every answer is a score or says why it is none"
    assert told <= {"scored", "null"} or "scores can be used" in ended.stderr
    report = desk.psyllm("eval", "report", "e")
    assert report.returncode == 0
    said = report.stdout.replace("\n", " ")
    assert (
        "Nobody has rated these talks" in said
        and ("agree poorly" in said or "is unknown" in said)
        and "Only 2 clients" in said
    )


def _said(client: str, counsellor: str) -> Iterator[dict[str, str]]:
    yield {"role": "user", "content": client}
    yield {"role": "assistant", "content": counsellor}
