"""Labels of people: kept in order, the last one counts, several writers at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from psyllm.errors import Failure, UsageError
from psyllm.journal import connect
from psyllm.labels import LABELS, Label, Labels

WRITE_TWENTY = """
import sys
from pathlib import Path
from psyllm.labels import Label, Labels
for n in range(20):
    Labels(Path(sys.argv[1])).add(Label(dialogue_id=f"d{n}", verdict="flag", reviewer=sys.argv[2]))
"""


def test_the_last_word_on_a_dialogue_counts_and_none_is_lost(tmp_path: Path) -> None:
    labels = Labels(tmp_path)
    assert labels.latest() == {}
    said = [
        Label(dialogue_id="d1", verdict="reject", comment="too tidy", reviewer="AB"),
        Label(dialogue_id="d2", verdict="flag"),
        Label(dialogue_id="d1", verdict="accept", reviewer="CD"),
    ]
    for label in said:
        labels.add(label)
    assert list(Labels(tmp_path).all()) == said
    assert Labels(tmp_path).latest() == {"d1": said[2], "d2": said[1]}


def test_several_people_label_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE_TWENTY, str(tmp_path), name]) for name in ("AB", "CD", "EF")
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    found = list(Labels(tmp_path).all())
    for name in ("AB", "CD", "EF"):
        assert [label.dialogue_id for label in found if label.reviewer == name] == [f"d{n}" for n in range(20)]


def test_a_file_that_is_just_being_made_holds_none(tmp_path: Path) -> None:
    connect(tmp_path / LABELS).close()
    assert Labels(tmp_path).latest() == {}


def test_a_file_that_holds_no_labels_and_a_folder_that_is_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / LABELS).write_text("x" * 5000)
    with pytest.raises(UsageError, match=r"labels\.db cannot be read"):
        Labels(tmp_path).latest()
    with pytest.raises(Failure, match="cannot write"):
        Labels(tmp_path / "missing").add(Label(dialogue_id="d", verdict="accept"))
