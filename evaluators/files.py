"""Reads the evaluators' own content, rubrics and prompts: files of the shape of prompts/, mistakes named by line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from prompts import files
from prompts.files import Mistake, PromptFile
from prompts.matter import RoleMatter
from psyllm.errors import UsageError

HERE = Path(__file__).parent
README = "evaluators/README.md says what a rubric holds; `psyllm eval lint` checks them all"
_HEADING = re.compile(r"^# (.+?)[ \t]*$", re.MULTILINE)
Matter = TypeVar("Matter", bound=RoleMatter)


@dataclass(frozen=True)
class Page(Generic[Matter]):
    """One file: its front matter, its sections as they are headed, and where they start."""

    path: Path
    matter: Matter
    sections: Mapping[str, str]
    lines: Mapping[str, int]
    """Section -> the file's line of its first words, 1-based."""
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def read(path: Path, kind: type[Matter]) -> Page[Matter]:
    """Raises UsageError with every mistake of the front matter: file, line, value, likely fix."""
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="name a Markdown file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from error
    head, fence, body = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not fence:
        raise UsageError(f"{path}:1: no front matter", hint="start the file with '---', YAML, '---'")
    matter, mistakes = files.front_matter(path, head, kind)
    if matter is None or mistakes:
        raise UsageError("\n".join(map(str, sorted(mistakes))), hint=README)
    sections: dict[str, str] = {}
    lines: dict[str, int] = {}
    headings = list(_HEADING.finditer(body))
    for heading, after in zip(headings, [*headings[1:], None], strict=True):
        line = head.count("\n") + 4 + body.count("\n", 0, heading.start())
        if heading[1] in sections:
            raise UsageError(str(Mistake(path, line, f"{heading[1]}: this section stands twice")), hint=README)
        sections[heading[1]] = body[heading.end() : after.start() if after else len(body)].strip()
        lines[heading[1]] = line + 1
    return Page(path, matter, sections, lines, text)


@cache
def prompt(name: str) -> PromptFile:
    """A prompt of evaluators/prompts, its sections in lower case."""
    page = read(HERE / "prompts" / f"{name}.md", RoleMatter)
    sections = {key.lower(): text for key, text in page.sections.items()}
    lines = {key.lower(): line for key, line in page.lines.items()}
    return PromptFile(page.path, page.matter, sections, lines, page.sha256, page.text)
