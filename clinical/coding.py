"""Codes: which one a verdict carries, and whether a proposed one fits. A code never raises a verdict."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Literal

from clinical.files import ICD11
from clinical.logic import Truth
from clinical.schema import Block, Course
from psyllm.errors import UsageError
from psyllm.records import System, Verdict

Status = Literal["valid", "not_billable", "invalid", "mismatch"]
"""valid: fits what is known. not_billable: a heading with codes below it. invalid: no such code. mismatch: a code of
something else, or one that claims a course (recurrent, psychotic, in remission) which nothing said here grounds."""


def given(block: Block, courses: Sequence[Truth], levels: Sequence[Truth]) -> tuple[str, ...]:
    """The codes of the course that holds, at the level that facts decide; else its unspecified ones."""
    course = _course(block, courses)
    if course is None:
        return block.codes
    level = _level(block, levels)
    return course.codes.get(level) or course.codes.get("unspecified", ()) or block.codes


def status(
    code: str,
    system: System,
    block: Block | None,
    courses: Sequence[Truth],
    levels: Sequence[Truth],
    more: Truth,
    verdict: Verdict | None,
    others: Iterable[str],
) -> Status:
    """How a proposed code stands to one disorder. `others`: every other code that the project lists.

    Raises UsageError when a code outside all tables must be looked up and simple-icd-10-cm is not installed.
    """
    code = code.strip().upper()
    own = (*block.codes, *block.more_codes) if block else ()
    listed = {*own, *others}
    if code not in listed:
        if any(each.startswith(code) for each in listed):
            return "not_billable"
        return _foreign(code, system, listed)
    if block is None or code not in own:
        return "mismatch"
    if code in block.more_codes:
        return "valid" if more is True else "mismatch"
    now = _course(block, courses)
    homes = [course for course in block.courses if any(code in codes for codes in course.codes.values())]
    if now is None or not homes:
        return "valid"
    if now not in homes:
        return "mismatch"
    level = _level(block, levels)
    claimed = [name for name, codes in now.codes.items() if code in codes]
    decided = verdict in ("met", "provisional") and level != "unspecified"
    return "mismatch" if decided and level not in claimed and "unspecified" not in claimed else "valid"


def _course(block: Block, truths: Sequence[Truth]) -> Course | None:
    return next((c for c, truth in zip(block.courses, truths, strict=True) if c.when is None or truth is True), None)


def _level(block: Block, truths: Sequence[Truth]) -> str:
    return next((name for name, truth in zip(block.levels, truths, strict=True) if truth is True), "unspecified")


def _foreign(code: str, system: System, listed: Iterable[str]) -> Status:
    """A code that no table lists. ICD-11 is known by its shape, and by the stems whose codes are all listed."""
    if system == "icd11":
        stem = code.partition(".")[0]
        unknown = not ICD11.fullmatch(code) or any(each.partition(".")[0] == stem for each in listed)
        return "invalid" if unknown else "mismatch"
    found = billable(code)
    return "invalid" if found is None else "mismatch" if found else "not_billable"


def billable(code: str) -> bool | None:
    """Whether an ICD-10-CM code may be billed; None when there is no such code.

    Takes some seconds and 200 MB the first time. Raises UsageError without simple-icd-10-cm.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # how it reads its own data
            import simple_icd_10_cm as icd10cm
    except ImportError as error:
        raise UsageError(
            f"simple-icd-10-cm is not installed, and {code!r} is in no table of clinical/",
            hint="pip install --constraint constraints.txt simple-icd-10-cm (`make check` installs it)",
        ) from error
    if not icd10cm.is_valid_item(code) or icd10cm.is_chapter_or_block(code):
        return None
    return bool(icd10cm.is_leaf(code))
