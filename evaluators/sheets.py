"""Rating sheets for people: blinded, shuffled, one row a moment and item; written as XLSX or CSV, read back as ratings.

A sheet names no counsellor, no judge and no score. The key that joins its rows to the talks lies beside it, in
NAME.key.json, and stays with whoever runs the study. How to rate is the workbook's first page; beside a CSV it is
NAME.read_me_first.txt.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.styles import Alignment, Font
from openpyxl.worksheet.datavalidation import DataValidation

from evaluators.judges import moments
from evaluators.records import Rating, Talk
from evaluators.rubric import Item, Rubric
from psyllm.errors import Failure, UsageError

HEAD = ("row", "conversation", "item", "question", "score", "comment")
"""Columns of a sheet; a rater fills in the last two."""
SUFFIXES = (".xlsx", ".csv")
_SCORES = {"1-5": ("1", "2", "3", "4", "5"), "pass_fail": ("0", "1")}
"""Scale of a rubric -> what a rater may write."""
_CANNOT = ("", "null", "n/a", "na", "-", "x")
"""What a rater may write for: cannot be scored. An empty cell is one that was not reached."""
INSTRUCTIONS = (
    "Read the conversation down to its last line; rate the counsellor's last reply, or, where the question says so,"
    " the whole conversation.",
    "Start at 3, the decent reply that many people could have been sent. Move only with a reason you could quote.",
    "A score is the highest anchor of which every clause holds. No halves. For pass or fail write 1 or 0.",
    "Write n/a where the item cannot be scored, with the reason in the comment; leave a cell empty if you did not get"
    " to it.",
    "Conversations come in an order drawn by lot. Do not look for who wrote them, and do not rate on a bad day.",
    "Some conversations are about suicide, self-harm or violence. Stop when you need to; nobody counts your rows.",
)


@dataclass(frozen=True)
class Row:
    id: str
    """8 hex digits; says nothing about the counsellor."""
    talk: Talk
    rubric: Rubric
    item: Item
    round: int


def rows(talks: Sequence[Talk], rubrics: Sequence[Rubric], clients: int | None, most: int, seed: int) -> list[Row]:
    """The moments to rate: every counsellor of the same `clients` clients, in an order drawn by `seed`."""
    rng = random.Random(seed)  # noqa: S311 (an order for raters, no secret)
    people = sorted({talk.client for talk in talks})
    rng.shuffle(people)
    wanted = set(people[:clients])
    chosen = [talk for talk in talks if talk.client in wanted and talk.own and not talk.failed]
    rng.shuffle(chosen)
    found = []
    for talk in chosen:
        each = [
            Row(_row_id(seed, talk, item, number), talk, rubric, item, number)
            for rubric in rubrics
            for item in rubric.matter.items
            for number in moments(talk, item, most)
        ]
        rng.shuffle(each)
        found += sorted(each, key=lambda row: row.round)
    return found


def write(path: Path, found: Sequence[Row]) -> Path:
    """Write the sheet and its key; returns the key's path. Raises UsageError for a file that is there already."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: unknown kind of sheet", hint=f"name it {' or '.join(SUFFIXES)}")
    key, guide = path.with_suffix(".key.json"), path.with_suffix(".read_me_first.txt")
    for each in (path, key, guide):
        if each.exists():
            raise UsageError(f"{each} exists", hint="give another name: a sheet is never written over")
    lines = [(row.id, _conversation(row), row.item.id, _question(row), "", "") for row in found]
    try:
        if path.suffix == ".csv":
            with path.open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.writer(file)
                writer.writerows([HEAD, *([_harmless(cell) for cell in line] for line in lines)])
            guide.write_text("\n\n".join(text for text, _ in _guide(found)) + "\n", encoding="utf-8")
        else:
            _workbook(lines, found).save(path)
        links = {
            row.id: {
                "talk": row.talk.id,
                "counsellor": row.talk.counsellor,
                "client": row.talk.client,
                "rubric": row.rubric.id,
                "item": row.item.id,
                "round": row.round,
                "scale": row.rubric.matter.scale,
            }
            for row in found
        }
        key.write_text(json.dumps(links, indent=1), encoding="utf-8")
    except OSError as error:
        raise Failure("store", f"cannot write {path}: {error.strerror}") from error
    return key


def read(path: Path, key: Path | None = None) -> list[Rating]:
    """A filled sheet as ratings, the file's name standing for the rater. Rows without a score are left out.

    Raises UsageError naming file, line and value.
    """
    if not path.is_file():
        raise UsageError(f"{path} does not exist", hint="give the sheet that a rater filled in")
    key = key or path.with_suffix(".key.json")
    if not key.is_file():
        raise UsageError(f"{key} does not exist", hint="give --key NAME.key.json, which was written with the sheet")
    links: dict[str, dict[str, Any]] = json.loads(key.read_text(encoding="utf-8"))
    found = []
    for line, row in _read_rows(path):
        told = str(row.get("score") if row.get("score") is not None else "").strip().lower()
        own = str(row.get("row") or "")
        if own not in links:
            raise UsageError(f"{path}:{line}: row {own!r} is not in {key}", hint="is it the key of this sheet?")
        if not told:
            continue
        link = dict(links[own])
        allowed = _SCORES[link.pop("scale")]
        scored = None if told in _CANNOT else _score(path, line, told, allowed)
        found.append(
            Rating(
                **link,
                judge=path.stem,
                told="null" if scored is None else "scored",
                score=scored,
                why=str(row.get("comment") or "")[:300],
            )
        )
    if not found:
        raise UsageError(f"{path} holds no score", hint="fill in the column `score`: 1 to 5, or n/a")
    return found


def _score(path: Path, line: int, told: str, allowed: Sequence[str]) -> float:
    whole = told.removesuffix(".0")
    if whole not in allowed:
        raise UsageError(f"{path}:{line}: score {told!r}", hint=f"this item takes {', '.join(allowed)} or n/a")
    return float(whole)


def _guide(found: Sequence[Row]) -> Iterator[tuple[str, bool]]:
    """How to rate, and the anchors of every item; True for a heading."""
    yield from ((told, False) for told in INSTRUCTIONS)
    for row in {row.item.id: row for row in found}.values():
        yield f"{row.item.id} {row.item.name}", True
        yield _plain(row.rubric.texts[row.item.id]), False


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line of the file, row), the header being line 1."""
    if not path.is_file():
        raise UsageError(f"{path} does not exist", hint="give a filled sheet, .csv or .xlsx")
    if path.suffix == ".xlsx":
        sheet = openpyxl.load_workbook(path, read_only=True)["ratings"]
        lines: list[tuple[Any, ...]] = list(sheet.iter_rows(values_only=True))
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [tuple(line) for line in csv.reader(file)]
    head = [str(cell) for cell in lines[0]] if lines else []
    if missing := [name for name in ("row", "score") if name not in head]:
        raise UsageError(f"{path}:1: no column {' and no column '.join(missing)}", hint=f"columns: {', '.join(HEAD)}")
    for number, line in enumerate(lines[1:], 2):
        if any(cell not in (None, "") for cell in line):
            yield number, dict(zip(head, line, strict=False))


def _workbook(lines: Sequence[tuple[str, ...]], found: Sequence[Row]) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    guide = book.active
    if guide is None:
        raise ValueError("a new workbook has a sheet")
    guide.title = "read me first"
    guide.column_dimensions["A"].width = 110
    for told, heading in _guide(found):
        guide.append([told])
        cell = guide[f"A{guide.max_row}"]
        cell.font, cell.alignment = Font(bold=heading), Alignment(wrap_text=True, vertical="top")
    sheet = book.create_sheet("ratings")
    sheet.append(HEAD)
    for line in lines:
        sheet.append([_harmless(cell) for cell in line])
    for letter, width in zip("ABCDEF", (10, 80, 7, 34, 8, 40), strict=True):
        sheet.column_dimensions[letter].width = width
    for each in sheet.iter_rows(min_row=2):
        for cell in each:
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    sheet.freeze_panes = "A2"
    for scale, allowed in _SCORES.items():
        told = ",".join((*allowed, "n/a"))
        rule = DataValidation(type="list", formula1=f'"{told}"', allow_blank=True, showErrorMessage=True)
        rule.error = f"one of {told}; n/a if it cannot be scored"
        for number, row in enumerate(found, 2):
            if row.rubric.matter.scale == scale:
                rule.add(f"E{number}")
        sheet.add_data_validation(rule)
    return book


def _conversation(row: Row) -> str:
    parts = []
    for place, turn in enumerate(row.talk.turns[: row.round]):
        parts.append(f"Client: {turn.client_text}")
        if turn.reply is not None:
            speaker = "Another counsellor" if place < row.talk.given else "Counsellor"
            parts.append(f"{speaker}: {turn.reply.text}")
    return "\n\n".join(parts)


def _question(row: Row) -> str:
    what = "the whole conversation" if row.item.unit == "dialogue" else "the last reply"
    return f"{row.item.name}, of {what} ({'0 or 1' if row.rubric.binary else '1 to 5'})"


def _plain(text: str) -> str:
    return text.replace("**", "")


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


def _row_id(seed: int, talk: Talk, item: Item, number: int) -> str:
    return hashlib.sha256(f"{seed}/{talk.id}/{item.id}/{number}".encode()).hexdigest()[:8]
