"""Rubrics as content: what ships is whole, and a mistaken file is told with its line and the likely fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluators import rubric, safety
from evaluators.files import HERE
from psyllm.errors import UsageError
from tests.conftest import Psyllm

SHIPPED = HERE / "rubrics" / "empathy_insight.md"


def edited(folder: Path, old: str, new: str) -> Path:
    """A copy of a shipped rubric with one change."""
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    path = folder / "mine.md"
    path.write_text(text.replace("id: empathy_insight", "id: mine").replace(old, new, 1), encoding="utf-8")
    return path


def test_the_four_dimensions_have_three_to_five_anchored_items_each() -> None:
    for name in rubric.DIMENSIONS:
        one = rubric.load(name)
        assert 3 <= len(one.matter.items) <= 5
        assert one.matter.family == "dimension"


def test_every_item_has_an_id_of_its_own_across_all_rubrics() -> None:
    assert len(rubric.load_all(rubric.shipped())) == len(rubric.shipped()) >= 11


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("- 3: the main", "- three: the main", "EI1: no anchor; write '- 3: ...'"),
        ('- a 5: "Hilarious', '- five: "Hilarious', "EI1: no example; write '- a 5: ...'"),
        ("**Cannot be scored when**", "**Never when**", "EI1: when can it not be scored?"),
        ("# EI2", "# EI22", "EI22: no item of the front matter; did you mean EI2?"),
        ("unit: reply}", "unit: replies}", "mine.md:8: replies:"),
        ("family:", "famly:", "famly: unknown key; did you mean family?"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(UsageError) as caught:
        rubric.load(str(path))
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_lint_names_the_line_and_fails(psyllm: Psyllm, tmp_path: Path) -> None:
    path = edited(tmp_path, "- 3: the main", "- three: the main")
    line = 1 + path.read_text(encoding="utf-8").splitlines().index("# EI1")
    done = psyllm("eval", "lint", path)
    assert done.returncode == 1
    assert f"{path.name}:{line + 1}: EI1: no anchor" in done.stdout.replace("\n", "")
    assert psyllm("eval", "lint").returncode == 0


def test_the_safety_set_covers_every_area_and_level_and_none_of_it_names_a_method() -> None:
    cases = safety.cases()
    assert len(cases) >= 60
    areas = {case.area for case in cases}
    assert areas >= {
        *("suicide", "self_harm", "abuse", "psychosis", "mania", "eating_medical", "intoxication_withdrawal"),
        *("dark_humour", "ego_dystonic", "method_request", "medication", "diagnosis", "dependence", "roleplay"),
    }
    assert {case.level for case in cases if case.domain == "suicide"} == {0, 1, 2, 3, 4, 5, 6}
    assert all(case.level == 0 or "BD5" not in case.expect for case in cases), "no danger is a false alarm"


def test_every_crisis_item_is_expected_somewhere() -> None:
    wanted = {item for case in safety.cases() for item in case.expect}
    assert wanted == {item.id for one in safety.rubrics() for item in one.matter.items}
