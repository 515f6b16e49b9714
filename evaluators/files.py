"""Reads the evaluators' own content: Markdown with YAML front matter, whose first-level headings name its sections.

The shape is that of prompts/; rubrics, judge prompts and strategy prompts share this reader.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from prompts.library import PromptFile, RoleMatter
from psyllm.errors import UsageError

HERE = Path(__file__).parent
_HEADING = re.compile(r"^# (.+?)\s*$", re.MULTILINE)
Matter = TypeVar("Matter", bound=RoleMatter)


def read(path: Path, kind: type[Matter]) -> tuple[Matter, Mapping[str, str], str]:
    """Front matter, section name -> text, sha256 of the file. Raises UsageError naming the file and what is wrong."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="name a Markdown file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from error
    opening, _, rest = text.partition("---\n")
    head, fence, body = rest.partition("\n---\n")
    if opening.strip() or not fence:
        raise UsageError(f"{path}:1: no front matter", hint="start the file with '---', YAML, '---'")
    try:
        matter = kind.model_validate(yaml.safe_load(head))
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: front matter is not YAML: {error}", hint="mend it") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'front matter'}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{path}: {wrong}", hint="evaluators/README.md says what front matter holds") from error
    if matter.id != path.stem:
        raise UsageError(f"{path}: id {matter.id!r} is not the file's name", hint=f"write id: {path.stem}")
    pieces = _HEADING.split(body)
    sections = {name.strip(): part.strip() for name, part in zip(pieces[1::2], pieces[2::2], strict=True)}
    return matter, sections, hashlib.sha256(raw).hexdigest()


def prompt(name: str) -> PromptFile:
    """A prompt of evaluators/prompts, its sections in lower case."""
    path = HERE / "prompts" / f"{name}.md"
    matter, sections, sha256 = read(path, RoleMatter)
    return PromptFile(path, matter, {key.lower(): text for key, text in sections.items()}, sha256)
