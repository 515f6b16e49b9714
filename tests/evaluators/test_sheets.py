"""Blinded sheets go out and come back; judges are measured against what people wrote into them."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest

from evaluators import judge_check, sheets
from evaluators.records import Rating, Talk
from evaluators.rubric import load
from psyllm.errors import UsageError
from tests.evaluators.conftest import CLIENT, REPLY, talk_of

RUBRIC = load("empathy_insight")


def talks() -> list[Talk]:
    found = []
    for number in range(12):
        for name in ("secret-model:plain", "other:graph"):
            one = talk_of((CLIENT, f"{REPLY} {number}"), counsellor=name)
            found.append(one.model_copy(update={"id": f"{name}-{number}", "client": f"client-{number}"}))
    return found


def filled(path: Path, rows: Sequence[sheets.Row], score: dict[str, str]) -> Path:
    """The sheet as a rater gives it back; `score` by row id."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    for line in lines[1:]:
        line[4] = score.get(line[0], "")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


def test_a_sheet_tells_no_counsellor_and_its_key_does(tmp_path: Path) -> None:
    rows = sheets.rows(talks(), [RUBRIC], 5, 2, seed=1)
    key = sheets.write(tmp_path / "s.xlsx", rows)
    book = openpyxl.load_workbook(tmp_path / "s.xlsx")
    cells = [str(cell.value) for sheet in book for line in sheet.iter_rows() for cell in line if cell.value]
    assert not any("secret" in cell or "other:graph" in cell or "client-" in cell for cell in cells)
    assert any("Start at 3" in cell for cell in cells) and any("bollard" in cell for cell in cells), "how to rate"
    links = json.loads(key.read_text(encoding="utf-8"))
    assert {link["counsellor"] for link in links.values()} == {"secret-model:plain", "other:graph"}
    assert len({link["client"] for link in links.values()}) == 5
    assert len(links) == 5 * 2 * 4


def test_what_a_rater_wrote_comes_back_as_ratings(tmp_path: Path) -> None:
    rows = sheets.rows(talks(), [RUBRIC], 1, 2, seed=1)
    sheets.write(tmp_path / "ann.csv", rows)
    filled(tmp_path / "ann.csv", rows, {rows[0].id: "4", rows[1].id: "n/a"})
    one, other = sheets.read(tmp_path / "ann.csv")
    assert (one.judge, one.score, one.told, one.talk, one.item) == (
        "ann",
        4,
        "scored",
        rows[0].talk.id,
        rows[0].item.id,
    )
    assert (other.score, other.told) == (None, "null")


@pytest.mark.parametrize("wrong", ["6", "3.5", "good", "-1", "0"])
def test_a_score_that_is_none_is_told_with_its_line(tmp_path: Path, wrong: str) -> None:
    rows = sheets.rows(talks(), [RUBRIC], 1, 2, seed=1)
    sheets.write(tmp_path / "s.csv", rows)
    filled(tmp_path / "s.csv", rows, {rows[2].id: wrong})
    with pytest.raises(UsageError, match=rf"s\.csv:4: score '{wrong}'"):
        sheets.read(tmp_path / "s.csv")


def test_a_pass_or_fail_item_takes_no_five_and_has_its_guide_beside_a_csv(tmp_path: Path) -> None:
    rows = sheets.rows(talks(), [load("crisis_safety")], 1, 1, seed=1)
    sheets.write(tmp_path / "s.csv", rows)
    guide = (tmp_path / "s.read_me_first.txt").read_text(encoding="utf-8")
    assert "Read the conversation down" in guide and f"{rows[0].item.id} {rows[0].item.name}" in guide
    filled(tmp_path / "s.csv", rows, {rows[0].id: "0", rows[1].id: "1"})
    assert [rating.score for rating in sheets.read(tmp_path / "s.csv")] == [0, 1]
    filled(tmp_path / "s.csv", rows, {rows[0].id: "5"})
    with pytest.raises(UsageError, match="score '5'"):
        sheets.read(tmp_path / "s.csv")


def test_of_a_missing_sheet_the_sheet_is_named_and_not_its_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ann\.csv does not exist"):
        sheets.read(tmp_path / "ann.csv")


def test_a_sheet_is_never_written_over(tmp_path: Path) -> None:
    rows = sheets.rows(talks(), [RUBRIC], 1, 2, seed=1)
    sheets.write(tmp_path / "s.csv", rows)
    with pytest.raises(UsageError, match="exists"):
        sheets.write(tmp_path / "s.csv", rows)


def test_words_that_a_spreadsheet_would_run_are_text(tmp_path: Path) -> None:
    evil = talk_of(("=HYPERLINK(1)", "=1+1 is what I say to that"))
    sheets.write(tmp_path / "s.xlsx", sheets.rows([evil], [RUBRIC], None, 1, seed=0))
    book = openpyxl.load_workbook(tmp_path / "s.xlsx")
    values = [cell for line in book["ratings"].iter_rows(min_row=2) for cell in line]
    assert all(cell.data_type != "f" for cell in values)


def rated(rng: random.Random, judge: str, noise: float, shift: float = 0.0, n: int = 60) -> list[Rating]:
    """Scores of one rater on moments whose merit is fixed."""
    truth = random.Random(7)
    found = []
    for number in range(n):
        merit = truth.choice([1.5, 2.5, 3.5, 4.5])
        for item in ("EI1", "EI2"):
            score = float(max(1, min(5, round(merit + shift + rng.gauss(0, noise)))))
            found.append(
                Rating(
                    talk=f"t{number}",
                    counsellor="x",
                    client=f"c{number}",
                    judge=judge,
                    rubric=RUBRIC.id,
                    item=item,
                    round=1,
                    told="scored",
                    score=score,
                )
            )
    return found


def advice(people: list[Rating], panel: list[Rating]) -> dict[str, str]:
    return {one.item: one.advice for one in judge_check.check(people, panel, [RUBRIC])}


def test_a_good_panel_is_trusted_a_kind_one_named_and_a_random_one_refused() -> None:
    rng = random.Random(1)
    people = [*rated(rng, "ann", 0.4), *rated(rng, "ben", 0.4)]
    good = [r for name in "abc" for r in rated(rng, name, 0.5)]
    assert advice(people, good)["EI1"] == "trust"
    kind = [r for name in "abc" for r in rated(rng, name, 0.3, shift=0.7)]
    assert "kinder than people" in advice(people, kind)["EI1"]
    dice = [r.model_copy(update={"score": float(rng.randint(1, 5))}) for r in good]
    assert advice(people, dice)["EI1"] == "do not use: the panel is unlike people"


def test_where_people_disagree_nobody_can_be_asked_to_match_them() -> None:
    rng = random.Random(2)
    people = [*rated(rng, "ann", 2.5), *rated(rng, "ben", 2.5)]
    panel = [r for name in "abc" for r in rated(rng, name, 0.3)]
    assert "people do not agree either" in advice(people, panel)["EI2"]


def test_few_ratings_recommend_nothing() -> None:
    rng = random.Random(3)
    people = [*rated(rng, "ann", 0.2, n=10), *rated(rng, "ben", 0.2, n=10)]
    assert advice(people, rated(rng, "a", 0.2, n=10))["EI1"].startswith("too few ratings (10 of 30)")
