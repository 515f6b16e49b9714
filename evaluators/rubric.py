"""Rubrics are content: one Markdown file a set, its items in the front matter, a section with anchors for each.

    ---
    id: empathy_insight
    name: Empathy & Insight
    version: "1.0"
    summary: Whether the reply has understood this person.
    family: dimension
    items:
      - {id: EI1, name: Emotional accuracy, unit: reply}
    ---
    # EI1
    **Is** whether ...
    - 1: misses the feeling.
    - 3: the main spoken feeling.
    - 5: also what is carried but unsaid.

    **Cannot be scored when** the client's turns carry no affect.

`psyllm eval lint` checks every file; evaluators/README.md says how to add one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evaluators.files import HERE, README, Page, read
from prompts.files import Mistake
from prompts.matter import RoleMatter, did_you_mean
from psyllm.errors import UsageError
from psyllm.records import PromptRef

DIMENSIONS = ("empathy_insight", "support_autonomy", "attunement_presence", "safety_boundaries")
"""The four dimensions of the benchmark, in the order of every table."""
_NULL = "**Cannot be scored when**"


class Item(BaseModel):
    """One line of a rubric's front matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(pattern=r"^[A-Z][A-Z0-9]+$")
    name: str
    unit: Literal["reply", "dialogue"]
    """What one score is about: a reply with all before it, or the whole talk."""
    pool: Literal["mean", "lowest"] = "mean"
    """How the scores of several replies become the dialogue's."""
    fails_at: int = Field(default=0, ge=0, le=4)
    """At this score or below the dialogue fails the safety gate; 0: the item is no gate."""
    quotes_client: bool = False
    """Whether the judge must quote the client as well."""
    keeps_markup: bool = False
    """Whether the judge sees lists, headings and bold as they were written."""
    kind: Literal["", "must", "must_not"] = ""
    """For pass_fail items: something to do, or to leave undone."""
    due_from: int = Field(default=0, ge=0, le=6)
    """For pass_fail items: the risk level from which it is due."""


class RubricMatter(RoleMatter):
    family: Literal["dimension", "fidelity", "alliance", "safety", "comparison"]
    scale: Literal["1-5", "pass_fail"] = "1-5"
    modality: str = ""
    """The modality that a fidelity set belongs to."""
    items: tuple[Item, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Rubric:
    path: Path
    matter: RubricMatter
    texts: dict[str, str]
    """Item id -> what a judge reads: construct, anchors, errors, null rule."""
    sha256: str

    @property
    def id(self) -> str:
        return self.matter.id

    @property
    def ref(self) -> PromptRef:
        return PromptRef(id=self.matter.id, version=self.matter.version, sha256=self.sha256[:12])

    @property
    def binary(self) -> bool:
        return self.matter.scale == "pass_fail"


def shipped() -> tuple[str, ...]:
    """Ids of the shipped rubrics: the four dimensions first."""
    ids = sorted(path.stem for path in (HERE / "rubrics").glob("*.md"))
    return (*DIMENSIONS, *(name for name in ids if name not in DIMENSIONS))


def load(name: str) -> Rubric:
    """A shipped rubric by id, or one of your own by path. Raises UsageError with every problem of the file."""
    path = Path(name) if name.endswith(".md") else HERE / "rubrics" / f"{name}.md"
    if not path.is_file():
        near = did_you_mean(name, shipped())
        hint = f"shipped: {', '.join(shipped())}; or the path of a .md file"
        raise UsageError(f"there is no rubric {name!r}{near}", hint=hint)
    page = read(path, RubricMatter)
    if mistakes := sorted(_mistakes(page)):
        raise UsageError("\n".join(map(str, mistakes)), hint=README)
    return Rubric(path, page.matter, dict(page.sections), page.sha256)


def load_all(names: Sequence[str]) -> tuple[Rubric, ...]:
    """Several rubrics. Raises UsageError also for an item id that two of them use."""
    rubrics = tuple(map(load, dict.fromkeys(names)))
    owner: dict[str, str] = {}
    for rubric in rubrics:
        for item in rubric.matter.items:
            if item.id in owner:
                raise UsageError(
                    f"item {item.id} is in {owner[item.id]} and in {rubric.id}", hint="give each item its own id"
                )
            owner[item.id] = rubric.id
    return rubrics


def _mistakes(page: Page[RubricMatter]) -> Iterator[Mistake]:
    matter = page.matter
    ids = [item.id for item in matter.items]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        yield Mistake(page.path, 1, f"{name}: this item stands twice in the front matter")
    for name in ids:
        if name not in page.sections:
            yield Mistake(page.path, 1, f"{name}: this item has no section; add '# {name}'")
    for name, text in page.sections.items():
        line = page.lines[name]
        if name not in ids:
            yield Mistake(page.path, line - 1, f"{name}: no item of the front matter{did_you_mean(name, ids)}")
            continue
        for anchor in ("pass", "fail") if matter.scale == "pass_fail" else ("1", "3", "5"):
            if not re.search(rf"^- {anchor}: \S", text, re.MULTILINE):
                yield Mistake(page.path, line, f"{name}: no anchor; write '- {anchor}: ...'")
            if matter.family == "dimension" and not re.search(rf"^- a {anchor}: \S", text, re.MULTILINE):
                yield Mistake(page.path, line, f"{name}: no example; write '- a {anchor}: ...'")
        if matter.scale == "1-5" and _NULL not in text:
            yield Mistake(page.path, line, f"{name}: when can it not be scored? write '{_NULL} ...' ('never' will do)")
