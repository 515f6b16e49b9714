"""The YAML files of a folder, read and checked: every problem in one pass, each with file, line and value.

tables, problems = read(Path("clinical"))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from clinical.logic import Compare, Leaf, leaves
from clinical.schema import Block, ContactTable, Disorder, Durations, Factor, FactSpec, Relations, RiskTable
from psyllm.yaml_nodes import child, composed, scalars

ICD11 = re.compile(r"[A-Z0-9][A-Z][0-9][A-Z0-9](\.[A-Z0-9]{1,2})?")
"""A stem code of ICD-11 with at most one extension after the point; no code begins with I or O in its second place."""
_Loaded = TypeVar("_Loaded")
_Place = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a file."""

    path: Path
    line: int
    """1-based."""
    text: str
    """What is wrong, with the value."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass
class Tables:
    """What the files hold. A file that cannot be read leaves its table empty, and a problem."""

    disorders: dict[str, Disorder] = field(default_factory=dict)
    facts: Mapping[str, FactSpec] = field(default_factory=dict)
    factors: Mapping[str, Factor] = field(default_factory=dict)
    relations: Relations | None = None
    durations: Durations | None = None
    risk: RiskTable | None = None
    contacts: ContactTable | None = None


class _File:
    """One file: its value, and the line of any place in it."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems

    def read(self, kind: TypeAdapter[_Loaded]) -> _Loaded | None:
        """The checked value; None and a problem for each mistake when it is not what it should be."""
        try:
            text = self.path.read_text(encoding="utf-8")
            self.node, value = composed(text)
            return kind.validate_python(value)
        except OSError as error:
            self._add(1, f"{error.strerror}")
        except UnicodeDecodeError as error:
            self._add(1, f"not UTF-8 (byte {error.start})")
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            self._add(mark.line + 1 if mark else 1, f"not YAML: {' '.join(str(error).split())}")
        except ValidationError as error:
            for wrong in error.errors():
                got = f", not {wrong['input']!r}" if isinstance(wrong["input"], str | int | float) else ""
                where = ".".join(map(str, wrong["loc"]))
                said = wrong["msg"].removeprefix("Value error, ") + got
                self.add(wrong["loc"], f"{where}: {said}" if where else said)
        return None

    def add(self, place: _Place, text: str, value: str = "") -> None:
        self._add(self.line(place, value), text)

    def _add(self, line: int, text: str) -> None:
        self.problems.append(Problem(self.path, line, text))

    def line(self, place: _Place, value: str = "") -> int:
        """The line of a place; of the first scalar in it that holds `value`, where one does."""
        node = self.node
        for step in place:
            _, found = child(node, step)
            node = found if found is not None else node
        for scalar in scalars(node):
            if value and value in scalar.value:
                return int(scalar.start_mark.line) + 1
        return int(node.start_mark.line) + 1 if node is not None else 1


def read(folder: Path) -> tuple[Tables, list[Problem]]:
    """Every table of a folder, and all that is wrong in its files, in the order of file and line."""
    problems: list[Problem] = []
    tables = Tables()
    tables.facts = _File(folder / "facts.yaml", problems).read(TypeAdapter(dict[str, FactSpec])) or {}
    factors = _File(folder / "factors.yaml", problems)
    tables.factors = factors.read(TypeAdapter(dict[str, Factor])) or {}
    relations = _File(folder / "relations.yaml", problems)
    tables.relations = relations.read(TypeAdapter(Relations))
    tables.durations = _File(folder / "durations.yaml", problems).read(TypeAdapter(Durations))
    risk = _File(folder / "risk.yaml", problems)
    tables.risk = risk.read(TypeAdapter(RiskTable))
    tables.contacts = _File(folder / "contacts.yaml", problems).read(TypeAdapter(ContactTable))
    files: dict[str, _File] = {}
    for path in sorted((folder / "criteria").glob("*.yaml")):
        file = _File(path, problems)
        disorder = file.read(TypeAdapter(Disorder))
        if disorder is not None:
            tables.disorders[disorder.id] = disorder
            files[disorder.id] = file
    for name, disorder in tables.disorders.items():
        _check_disorder(files[name], disorder, tables)
    if tables.relations is not None:
        _check_relations(relations, tables.relations, tables)
    for name, factor in tables.factors.items():
        for code in factor.icd11:
            if not ICD11.fullmatch(code):
                factors.add((name, "icd11"), f"{code!r} is no ICD-11 code", code)
    if tables.risk is not None:
        _check_risk(risk, tables.risk)
    return tables, sorted(set(problems))


# ---------------------------------------------------------------- one disorder


def _check_disorder(file: _File, disorder: Disorder, tables: Tables) -> None:
    if disorder.id != file.path.stem:
        file.add(("id",), f"id {disorder.id!r} is not the file's name")
    known = {criterion.id: criterion for criterion in disorder.criteria}
    if len(known) < len(disorder.criteria):
        twice = [c.id for i, c in enumerate(disorder.criteria) if c.id in {d.id for d in disorder.criteria[:i]}]
        file.add(("criteria",), f"two criteria share an id: {', '.join(twice)}", twice[0])
    if not disorder.blocks():
        file.add((), "neither dsm5tr nor icd11")
    targets = _targets(tables)
    for system, block in disorder.blocks().items():
        for place, rule in block.rules():
            for leaf in leaves(rule):
                if text := _wrong_leaf(leaf, system, known, tables):
                    file.add((system, *place), text, leaf.id if isinstance(leaf, Leaf) else leaf.fact)
        for i, exclusion in enumerate(block.exclusions):
            if exclusion.redirect and tables.relations and exclusion.redirect not in targets:
                file.add(
                    (system, "exclusions", i), f"redirect {exclusion.redirect!r} exists nowhere", exclusion.redirect
                )
        for text, code in _wrong_codes(block, system):
            file.add((system,), text, code)
        if tables.relations is not None:
            for leaf in block.leaves():
                if text := _wrong_grey(leaf, tables.relations):
                    file.add((system,), text, "duration_days")


def _targets(tables: Tables) -> set[str]:
    named = (*tables.relations.disorders, *tables.relations.redirect_targets) if tables.relations else ()
    return {*tables.disorders, *tables.factors, *named}


def _wrong_leaf(leaf: Leaf | Compare, system: str, known: Mapping[str, Any], tables: Tables) -> str:
    if isinstance(leaf, Leaf):
        if leaf.id not in known:
            return f"{system} names the criterion {leaf.id}, which is not listed"
        if known[leaf.id].sys not in (None, system):
            return f"{system} names the criterion {leaf.id}, which belongs to {known[leaf.id].sys}"
        return ""
    if leaf.fact not in tables.facts:
        return f"{system} asks for the fact {leaf.fact!r}, which facts.yaml does not hold" if tables.facts else ""
    if (leaf.op == "is") != (tables.facts[leaf.fact].type == "bool"):
        return f"{system} tests {leaf.fact!r} with {leaf.op!r}, but it is a {tables.facts[leaf.fact].type}"
    return ""


def _wrong_codes(block: Block, system: str) -> Iterator[tuple[str, str]]:
    given = {code for course in block.courses for codes in course.codes.values() for code in codes}
    for code in sorted(given - set(block.codes)):
        yield f"{code} is given by a course and not listed under codes", code
    for course in block.courses:
        for level in course.codes:
            if level not in block.levels and level not in ("unspecified", "mild", "moderate", "severe"):
                yield f"no level is called {level!r}", level
    if system == "icd11":
        for code in (*block.codes, *block.more_codes):
            if not ICD11.fullmatch(code):
                yield f"{code!r} is no ICD-11 code", code


def _wrong_grey(leaf: Leaf | Compare, relations: Relations) -> str:
    if not isinstance(leaf, Compare) or leaf.fact != "duration_days" or leaf.grey is None:
        return ""
    listed = {(span.ge, span.grey_from) for span in relations.operationalisations.values()}
    if (leaf.value, leaf.grey) in listed:
        return ""
    return f"duration_days from {leaf.grey:g} to {leaf.value:g} is no grey zone of relations.yaml"


# ---------------------------------------------------------------- the other files


def _check_relations(file: _File, relations: Relations, tables: Tables) -> None:
    known = {*relations.disorders, *tables.disorders}
    for i, pair in enumerate(relations.mutually_exclusive):
        for name in (pair.a, pair.b):
            if name not in known:
                file.add(("mutually_exclusive", i), f"no disorder is called {name!r}", name)
        if pair.keep not in (pair.a, pair.b):
            file.add(("mutually_exclusive", i), f"keep {pair.keep!r} is neither {pair.a} nor {pair.b}", pair.keep)
        for leaf in leaves(pair.when) if pair.when else ():
            if isinstance(leaf, Compare) and tables.facts and leaf.fact not in tables.facts:
                file.add(("mutually_exclusive", i), f"asks for the fact {leaf.fact!r}", leaf.fact)
    for i, both in enumerate(relations.may_coexist):
        for name in both:
            if name not in known:
                file.add(("may_coexist", i), f"no disorder is called {name!r}", name)


def _check_risk(file: _File, risk: RiskTable) -> None:
    for mode, classes in risk.locks.items():
        for name in classes:
            if name not in risk.technique_classes:
                file.add(("locks", mode), f"no technique class is called {name!r}", name)


# ---------------------------------------------------------------- codes against the published list


def unbillable(folder: Path, tables: Tables, billable: Callable[[str], bool | None]) -> Iterator[Problem]:
    """ICD-10-CM codes that do not exist or are headings, as `billable` says: None for no such code."""
    for name, disorder in tables.disorders.items():
        block = disorder.dsm5tr
        codes = (*block.codes, *block.more_codes) if block else ()
        for code in (*codes, *disorder.nearest_icd10cm):
            yield from _unbillable(folder / "criteria" / f"{name}.yaml", code, billable)
    for factor in tables.factors.values():
        for code in factor.icd10cm:
            yield from _unbillable(folder / "factors.yaml", code, billable)


def _unbillable(path: Path, code: str, billable: Callable[[str], bool | None]) -> Iterator[Problem]:
    found = billable(code)
    if not found:
        lines = path.read_text(encoding="utf-8").splitlines()
        at = next((n for n, text in enumerate(lines, start=1) if re.search(rf"\b{re.escape(code)}\b", text)), 1)
        yield Problem(path, at, f"{code} {'has codes below it' if found is False else 'is no code'} of ICD-10-CM")
