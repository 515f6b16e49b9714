"""A database that is written needs a local disk; what lies on a network is told by the table of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from psyllm import mounts
from psyllm.errors import UsageError
from psyllm.journal import Journal, shard_numbers
from psyllm.labels import Label, Labels

TABLE = """\
none / 9p rw 0 0
server:/data {folder}/shared\\040disk nfs4 rw 0 0
/dev/vdb {folder}/shared\\040disk/local xfs rw 0 0
rclone {folder}/bucket fuse.rclone rw 0 0
"""


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which this machine seems to have mounted others' disks."""
    table = tmp_path / "mounts"
    table.write_text(TABLE.format(folder=tmp_path), encoding="utf-8")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    return tmp_path


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("run", ""),
        ("shared disk", "nfs4"),
        ("shared disk/runs/mine", "nfs4"),
        ("shared disk/local/run", ""),
        ("shared disks", ""),
        ("bucket/run", "fuse.rclone"),
    ],
)
def test_the_innermost_mount_counts(mounted: Path, place: str, kind: str) -> None:
    assert mounts.network_kind(mounted / place) == kind


def test_no_run_grows_on_a_network_file_system(mounted: Path) -> None:
    run = mounted / "shared disk" / "run"
    with pytest.raises(UsageError, match="network file system") as refused:
        Journal.open(run, {}, "0")
    assert "--engine ray" in refused.value.hint
    assert not run.exists()


def test_labels_are_written_there_without_wal(mounted: Path) -> None:
    run = mounted / "shared disk" / "run"
    run.mkdir(parents=True)
    Labels(run).add(Label(dialogue_id="a", verdict="flag"))
    assert [label.dialogue_id for label in Labels(run).all()] == ["a"]
    assert (run / "labels.db").read_bytes()[18:20] == b"\1\1", "the file says how it is written"
    assert shard_numbers(run) == []
