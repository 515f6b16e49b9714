"""Who follows prompts/README.md and nothing else has a new modality in one file, and no Python was touched."""

from __future__ import annotations

import shlex
import shutil

import pytest

from prompts.library import SHIPPED
from psyllm.records import Status
from psyllm.runs import Run
from tests.app.conftest import Desk
from tests.conftest import EXAMPLES

README = (SHIPPED / "README.md").read_text(encoding="utf-8").partition("## Add a modality")[2]


def block(kind: str) -> str:
    return README.partition(f"```{kind}\n")[2].partition("```")[0]


@pytest.fixture
def followed(desk: Desk) -> Desk:
    """The desk with the README's file where the README says."""
    desk.write("my-prompts/modalities/compassion_focused.md", block("markdown"))
    (desk.folder / "examples").mkdir()
    shutil.copy(EXAMPLES / "posts.jsonl", desk.folder / "examples")
    return desk


def test_the_readme_leads_to_accepted_dialogues_of_a_new_school(followed: Desk) -> None:
    said = {}
    for line in block("sh").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "psyllm"
        done = followed.psyllm(*arguments)
        assert done.returncode == 0, (line, done.stdout[-2000:], done.stderr)
        said[arguments[1]] = done.stdout
    assert said["lint"] == "prompts: 6 roles, 11 modalities: no mistake\n"
    assert "You are curious about" in said["show"] and "- CFT2: warmth shown in a wording" in said["show"]
    assert "modality compassion_focused" in said["try"]
    assert any(f"[{technique}]" in said["try"] for technique in ("two_voices", "soothing_rhythm", "friend_letter"))
    with Run(followed.folder / "runs" / "compassion") as run:
        accepted = list(run.dialogues(Status.ACCEPTED))
        kept = run.prompt("compassion_focused")
    assert accepted
    for dialogue in accepted:
        assert dialogue.plan and dialogue.plan.modality.chosen == "compassion_focused"
        assert kept[0] in dialogue.provenance.prompts
        for reply in dialogue.replies():
            assert reply.technique in {"two_voices", "soothing_rhythm", "friend_letter", "safety_protocol"}
    assert kept[1] == block("markdown")
