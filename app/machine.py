"""Results for programs: what `--json` prints."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel


def show_json(value: object) -> None:
    """Print a record, or several, as JSON in plain ASCII: no character of theirs can steer a terminal."""
    sys.stdout.write(json.dumps(plain_data(value), indent=2) + "\n")


def plain_data(value: object) -> Any:
    """Dataclasses and records as dicts, keys as hexadecimal digits."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {field.name: plain_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain_data(inner) for key, inner in value.items()}
    return [plain_data(inner) for inner in value] if isinstance(value, list | tuple) else value
