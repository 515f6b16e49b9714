"""The one list of reason codes, from reason_codes.yaml: why a turn was sent back or a dialogue not accepted."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml


@cache
def reason_codes() -> dict[str, dict[str, str]]:
    """Blamed role -> code -> what it means, in one line."""
    text = (Path(__file__).parent / "reason_codes.yaml").read_text(encoding="utf-8")
    codes: dict[str, dict[str, str]] = yaml.safe_load(text)
    return codes


def codes_for(role: str) -> tuple[str, ...]:
    """The codes that blame one role, in the file's order."""
    return tuple(reason_codes()[role])


def meaning(code: str) -> str:
    """What a code means; raises KeyError for one that is not on the list."""
    return next(codes[code] for codes in reason_codes().values() if code in codes)
