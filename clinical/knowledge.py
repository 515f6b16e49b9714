"""Everything that code knows about disorders and risk, loaded from YAML: the door that other folders use.

knowledge = Knowledge.load(["icd11"])
evidence, facts, dropped = knowledge.gate(claims, turns)
findings = knowledge.assess(evidence, facts)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from clinical import engine, gates, risk
from clinical.logic import Compare, Leaf
from clinical.schema import SYSTEMS, Block, ContactTable, Disorder, FactSpec, RiskTable
from psyllm.errors import UsageError
from psyllm.records import Dropped, Evidence, Fact, Finding, Mode, Risk, System, Turn

SHIPPED = Path(__file__).parent
SYSTEM_NAMES: Mapping[System, str] = {"dsm5tr": "DSM-5-TR", "icd11": "ICD-11"}


@dataclass(frozen=True, eq=False)
class Knowledge:
    """The disorders that at least one of `systems` knows, and every risk domain."""

    systems: tuple[System, ...]
    disorders: Mapping[str, Disorder]
    facts: Mapping[str, FactSpec]
    risk_table: RiskTable
    contact_table: ContactTable

    @classmethod
    def load(cls, systems: Sequence[System] = SYSTEMS, folder: Path | None = None) -> Knowledge:
        """Read criteria/*.yaml, facts.yaml, risk.yaml and contacts.yaml of a folder (default: the shipped one).

        Raises UsageError naming the file and the value.
        """
        if not systems or not set(systems) <= set(SYSTEMS):
            raise UsageError(f"unknown systems {list(systems)!r}", hint=f"choose from: {', '.join(SYSTEMS)}")
        folder = folder or SHIPPED
        facts = _read(folder / "facts.yaml", TypeAdapter(dict[str, FactSpec]))
        disorders = {}
        for path in sorted((folder / "criteria").glob("*.yaml")):
            disorder = _read(path, TypeAdapter(Disorder))
            _check(path, disorder, facts)
            if set(systems) & set(disorder.blocks()):
                disorders[disorder.id] = disorder
        if not disorders:
            raise UsageError(
                f"{folder / 'criteria'}: no disorder for {', '.join(systems)}", hint="see clinical/README.md"
            )
        return cls(
            systems=tuple(system for system in SYSTEMS if system in systems),
            disorders=disorders,
            facts=facts,
            risk_table=_read(folder / "risk.yaml", TypeAdapter(RiskTable)),
            contact_table=_read(folder / "contacts.yaml", TypeAdapter(ContactTable)),
        )

    @cached_property
    def disorder_ids(self) -> tuple[str, ...]:
        return tuple(self.disorders)

    @cached_property
    def criterion_ids(self) -> tuple[str, ...]:
        """Those that a rule of the loaded systems names, as mdd.A1."""
        return tuple(f"{name}.{c}" for name, offer in self._offers.items() for c in offer.criteria)

    @cached_property
    def fact_names(self) -> tuple[str, ...]:
        """Those that a rule of the loaded systems names."""
        return tuple(name for name in self.facts if any(name in offer.facts for offer in self._offers.values()))

    @cached_property
    def risk_domains(self) -> tuple[str, ...]:
        return tuple(self.risk_table.domains)

    def describe(self) -> str:
        """The criteria, the facts and the risk ladders as a prompt block. The same text in every call."""
        lines = ["<criteria>"]
        for name, offer in self._offers.items():
            names = [f"{block.name} ({SYSTEM_NAMES[system]})" for system, block in self._blocks(offer.disorder).items()]
            lines.append(f"{name}: {'; '.join(names)}")
            for criterion in offer.criteria.values():
                only = f" ({SYSTEM_NAMES[criterion.sys]} only)" if criterion.sys and len(self.systems) > 1 else ""
                lines.append(f"{name}.{criterion.id} {criterion.t}{only}")
            lines += [f"facts: {', '.join(offer.facts)}; a duration is that of the {offer.disorder.scope}", ""]
        lines.append("facts:")
        for name in self.fact_names:
            spec = self.facts[name]
            lines.append(f"{name} ({'true/false' if spec.type == 'bool' else spec.unit or 'number'}): {spec.meaning}")
        lines += ["</criteria>", "<risk_levels>"]
        for name, domain in self.risk_table.domains.items():
            lines += [f"{name} {rung.level}: {rung.name} ({'; '.join(rung.cues)})" for rung in domain.levels]
        return "\n".join([*lines, "</risk_levels>"])

    def gate(
        self, claims: Sequence[Evidence | Fact], turns: Sequence[Turn]
    ) -> tuple[tuple[Evidence, ...], tuple[Fact, ...], tuple[Dropped, ...]]:
        """New claims against all turns so far, the last one new -> accepted evidence, accepted facts, refused."""
        return gates.sift(claims, turns, self._offers)

    def assess(self, evidence: Sequence[Evidence], facts: Sequence[Fact]) -> tuple[Finding, ...]:
        """A finding per system for each disorder that accepted evidence or a fact names. The order does not matter."""
        named = {e.disorder for e in evidence} | {name for fact in facts for name in fact.disorders}
        return tuple(
            engine.judge(disorder, system, block, engine.known(disorder, evidence, facts, self.facts))
            for disorder in self.disorders.values()
            if disorder.id in named
            for system, block in self._blocks(disorder).items()
        )

    def grade(self, proposed: Sequence[Risk], turns: Sequence[Turn]) -> tuple[Risk, ...]:
        """One risk a domain: the highest of screen, proposal and what earlier turns reached."""
        return tuple(risk.grade(name, domain, proposed, turns) for name, domain in self.risk_table.domains.items())

    def mode(self, risks: Sequence[Risk]) -> Mode:
        """The most urgent mode."""
        found = risk.worst(risks)
        return found.mode if found else "ordinary"

    def protocol(self, risks: Sequence[Risk]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(must, must not) of the most urgent risk; both empty when none is above level 0."""
        return risk.protocol(self.risk_table, risks)

    def locked_classes(self, mode: Mode) -> frozenset[str]:
        """Technique classes that a mode locks."""
        return risk.locked_classes(self.risk_table, mode)

    def labels(self) -> Mapping[str, str]:
        """Lower-case names, aliases and codes, of every system, that must not reach a client -> disorder id."""
        found = {}
        for disorder in self.disorders.values():
            for block in disorder.blocks().values():
                codes = block.codes + block.more_codes
                stems = [code.partition(".")[0] for code in codes]
                for label in (block.name, *codes, *(stem for stem in stems if len(stem) > 3), *disorder.aliases):
                    found[label.lower()] = disorder.id
        return found

    def contacts(self) -> str:
        """What {crisis_contacts} is filled with when a reply is shown."""
        return "; ".join(f"{c.where}, {c.reach} ({c.name})" for c in self.contact_table.contacts)

    def _blocks(self, disorder: Disorder) -> dict[System, Block]:
        return {system: block for system, block in disorder.blocks().items() if system in self.systems}

    @cached_property
    def _offers(self) -> dict[str, gates.Offer]:
        """Disorder -> the criteria and facts that its loaded rules name, in the files' order."""
        offers = {}
        for disorder in self.disorders.values():
            named = {leaf for block in self._blocks(disorder).values() for leaf in block.leaves()}
            criteria = {leaf.id for leaf in named if isinstance(leaf, Leaf)}
            facts = {leaf.fact for leaf in named if isinstance(leaf, Compare)}
            offers[disorder.id] = gates.Offer(
                disorder,
                {criterion.id: criterion for criterion in disorder.criteria if criterion.id in criteria},
                {name: spec for name, spec in self.facts.items() if name in facts},
            )
        return offers


_Loaded = TypeVar("_Loaded")


def _read(path: Path, kind: TypeAdapter[_Loaded]) -> _Loaded:
    try:
        return kind.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}",
            hint="a folder of clinical data holds criteria/, facts.yaml, risk.yaml and contacts.yaml",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from error
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise UsageError(f"{path}: not YAML: {told}", hint="quote texts that hold a colon or a quote") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        got = f", not {first['input']!r}" if isinstance(first["input"], str | int | float) else ""
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(
            ": ".join(filter(None, (str(path), where, said + got))), hint="the format is in clinical/README.md"
        ) from error


def _check(path: Path, disorder: Disorder, facts: Mapping[str, FactSpec]) -> None:
    if disorder.id != path.stem:
        raise UsageError(f"{path}: id {disorder.id!r} is not the file's name", hint=f"write id: {path.stem}")
    for system, block in disorder.blocks().items():
        for leaf in block.leaves():
            if isinstance(leaf, Compare) and leaf.fact not in facts:
                raise UsageError(f"{path}: {system} asks for the fact {leaf.fact!r}", hint="add it to facts.yaml")
            if isinstance(leaf, Compare) and (leaf.op == "is") != (facts[leaf.fact].type == "bool"):
                raise UsageError(
                    f"{path}: {system} tests {leaf.fact!r} with {leaf.op!r}, but it is a {facts[leaf.fact].type}",
                    hint="use is for bool facts, ge, gt, le or lt for numbers",
                )
