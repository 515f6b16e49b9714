"""psyllm clinical: lint, ls, show and check, over the real command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import clinical
from tests.app.conftest import Desk

OWN = Path(__file__).parents[1] / "clinical" / "cases.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("*.py", "__pycache__")
    return shutil.copytree(Path(clinical.__file__).parent, tmp_path / "clinical", ignore=ignored)


def change(path: Path, old: str, new: str) -> int:
    """The line on which the change was made."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def test_check_prints_what_is_right_and_ends_well(desk: Desk) -> None:
    done = desk.psyllm("clinical", "check", str(OWN))
    assert done.returncode == 0, done.stderr
    assert "verdicts 84/84, codes 83/83" in " ".join(done.stdout.split())


def test_check_ends_with_1_on_a_wrong_verdict(desk: Desk, tmp_path: Path) -> None:
    wrong = tmp_path / "cases.yaml"
    wrong.write_text(OWN.read_text().replace("verdict: met", "verdict: provisional", 1))
    done = desk.psyllm("clinical", "check", str(wrong))
    assert done.returncode == 1
    assert "83/84" in done.stdout
    assert "verdict provisional" in done.stdout


def test_the_shipped_data_passes_lint(desk: Desk) -> None:
    done = desk.psyllm("clinical", "lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "25 disorders" in done.stdout
    assert "no problem" in done.stdout


def test_lint_lists_every_problem_with_file_line_and_value(desk: Desk, folder: Path) -> None:
    mdd, gad, risk = (folder / name for name in ("criteria/mdd.yaml", "criteria/gad.yaml", "risk.yaml"))
    wrong = [
        (mdd, change(mdd, "F32.0, F32.1", "F32, F32.1"), "F32 has codes below it"),
        (mdd, change(mdd, "redirect: bipolar_1", "redirect: bipolar_7"), "bipolar_7"),
        (gad, change(gad, "A1, A2, A3,", "A1, A2, A9,"), "A9"),
        (gad, change(gad, "F41.1", "F41.77"), "F41.77 is no code"),
        (gad, change(gad, "6B00", "6B0"), "6B0"),
        (gad, change(gad, "ge: 90, grey_from: 60", "ge: 90, grey_from: 55"), "55"),
        (risk, change(risk, "imaginal_exposure, trauma_processing, deep", "levitation, deep"), "levitation"),
    ]
    done = desk.psyllm("clinical", "lint", "--folder", str(folder))
    assert done.returncode == 1
    shown = done.stdout.splitlines()
    for path, line, value in wrong:
        assert [text for text in shown if text.startswith(f"{path}:") and value in text], value
        if value not in ("55", "levitation"):
            assert any(text.startswith(f"{path}:{line}: ") and value in text for text in shown), (line, value)


def test_ls_says_what_is_verified(desk: Desk) -> None:
    done = desk.psyllm("clinical", "ls")
    assert done.returncode == 0
    for word in ("bipolar_2", "burnout", "eating_medical", "unverified", "partly"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mdd", ["at least 5 of", "duration_days >= 14", "mania -> bipolar_1", "F33.9", "mdd.A2 loss of interest"]),
        ("burnout", ["Z73.0", "no disorder"]),
        ("abuse", ["abuse 3: immediate danger, mode emergency", "must not: promise secrecy"]),
    ],
)
def test_show_prints_one_entry(desk: Desk, name: str, words: list[str]) -> None:
    done = desk.psyllm("clinical", "show", name)
    assert done.returncode == 0
    assert all(word in done.stdout for word in words)


def test_show_of_nothing_says_where_to_look(desk: Desk) -> None:
    done = desk.psyllm("clinical", "show", "flu")
    assert done.returncode == 2
    assert "'flu'" in done.stderr
    assert "psyllm clinical ls" in done.stderr
