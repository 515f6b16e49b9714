"""Everything that code knows about disorders and risk, loaded from YAML: the door that other folders use.

knowledge = Knowledge.load(["icd11"])
evidence, facts, dropped = knowledge.gate(claims, turns)
findings = knowledge.assess(evidence, facts)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clinical import coding, cues, engine, files, gates, risk
from clinical.durations import Clock
from clinical.heard import Heard
from clinical.logic import Compare, Leaf
from clinical.patterns import Patterns
from clinical.schema import SYSTEMS, Block, ContactTable, Disorder, Durations, Factor, FactSpec, Relations, RiskTable
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
    factors: Mapping[str, Factor]
    relations: Relations
    durations: Durations
    risk_table: RiskTable
    contact_table: ContactTable
    lenient: bool = False
    """Whether a substance or an illness that nobody asked about leaves a verdict as it is."""

    @classmethod
    def load(
        cls, systems: Sequence[System] = SYSTEMS, folder: Path | None = None, *, lenient: bool = False
    ) -> Knowledge:
        """Read criteria/*.yaml and the other files of a folder (default: the shipped one).

        Raises UsageError with every problem: file, line and value.
        """
        if not systems or not set(systems) <= set(SYSTEMS):
            raise UsageError(f"unknown systems {list(systems)!r}", hint=f"choose from: {', '.join(SYSTEMS)}")
        folder = folder or SHIPPED
        tables, problems = files.read(folder)
        if problems or not (tables.relations and tables.durations and tables.risk and tables.contacts):
            raise UsageError("\n".join(map(str, problems)), hint="the formats are in clinical/README.md")
        disorders = {name: d for name, d in tables.disorders.items() if set(systems) & set(d.blocks())}
        if not disorders:
            raise UsageError(
                f"{folder / 'criteria'}: no disorder for {', '.join(systems)}", hint="see clinical/README.md"
            )
        return cls(
            systems=tuple(system for system in SYSTEMS if system in systems),
            disorders=disorders,
            facts=tables.facts,
            factors=tables.factors,
            relations=tables.relations,
            durations=tables.durations,
            risk_table=tables.risk,
            contact_table=tables.contacts,
            lenient=lenient,
        )

    @cached_property
    def _patterns(self) -> Patterns:
        return Patterns(
            (
                *risk.patterns_of(self.risk_table.domains.values()),
                *cues.patterns_of(self.disorders.values(), self.factors.values()),
            )
        )

    @cached_property
    def _owners(self) -> cues.Owners:
        return cues.owners(self.disorders.values())

    @cached_property
    def screen(self) -> risk.Screen:
        """What sentences raise by their words alone."""
        return risk.Screen(self.risk_table.domains, self._patterns)

    @cached_property
    def disorder_ids(self) -> tuple[str, ...]:
        return tuple(self.disorders)

    @cached_property
    def criterion_ids(self) -> tuple[str, ...]:
        """Those that a rule of the loaded systems names, as mdd.A1."""
        return self.criterion_ids_of(self.disorder_ids)

    @cached_property
    def fact_names(self) -> tuple[str, ...]:
        """Those that a rule of the loaded systems names."""
        return self.fact_names_of(self.disorder_ids)

    @cached_property
    def risk_domains(self) -> tuple[str, ...]:
        return tuple(self.risk_table.domains)

    def criterion_ids_of(self, disorders: Sequence[str]) -> tuple[str, ...]:
        """The criteria of some disorders, as mdd.A1, in the order given."""
        return tuple(f"{name}.{c}" for name in disorders for c in self._offers[name].criteria)

    def fact_names_of(self, disorders: Sequence[str]) -> tuple[str, ...]:
        """The facts that the rules of some disorders ask for, in the order of facts.yaml."""
        return tuple(name for name in self.facts if any(name in self._offers[each].facts for each in disorders))

    def describe(self, disorders: Sequence[str]) -> str:
        """The criteria and facts of some disorders as a prompt block.

        The text of a disorder never changes, and the block of a longer list starts with that of a shorter one (but
        for its closing tag): servers cache the prefix.
        """
        lines = ["<criteria>", "Facts of many disorders:", *map(self._fact_line, self._common_facts), ""]
        for name in disorders:
            lines += [*self._lines(name), ""]
        return "\n".join([*lines[:-1], "</criteria>"])

    def risk_guide(self) -> str:
        """The ladders of every risk domain as a prompt block, always the same."""
        lines = ["<risk_levels>"]
        for name, domain in self.risk_table.domains.items():
            lines += [f"{name} {rung.level}: {rung.name} ({'; '.join(rung.cues)})" for rung in domain.levels]
        return "\n".join([*lines, "</risk_levels>"])

    def shortlist(self, turns: Sequence[Turn]) -> tuple[str, ...]:
        """The disorders whose criteria are worth sending, at most six; it only grows from turn to turn."""
        return cues.shortlist(self.disorders, self.systems, turns, self._patterns, self._owners)

    def heard(self, turns: Sequence[Turn]) -> Heard:
        """What the client's words suggest, to be asked by the ids that prompts name."""
        return Heard(self.factors, self.risk_table.domains, turns, self._patterns, self._owners, self.screen)

    def heard_factors(self, turns: Sequence[Turn], findings: Sequence[Finding]) -> tuple[str, ...]:
        """Factors that the client's words or a raised risk suggest; no_diagnosis when no verdict is open."""
        return cues.factors(self.factors, turns, findings, self._patterns)

    def _lines(self, name: str) -> list[str]:
        offer = self._offers[name]
        names = [f"{block.name} ({SYSTEM_NAMES[system]})" for system, block in self._blocks(offer.disorder).items()]
        lines = [f"{name}: {'; '.join(names)}"]
        for criterion in offer.criteria.values():
            only = f" ({SYSTEM_NAMES[criterion.sys]} only)" if criterion.sys and len(self.systems) > 1 else ""
            lines.append(f"{name}.{criterion.id} {criterion.t}{only}")
        common = [fact for fact in offer.facts if fact in self._common_facts]
        lines.append(
            f"facts: {', '.join(common) or 'none of the above'}; a duration is that of the {offer.disorder.scope}"
        )
        return lines + [self._fact_line(fact) for fact in offer.facts if fact not in common]

    def _fact_line(self, name: str) -> str:
        spec = self.facts[name]
        return f"{name} ({'true/false' if spec.type == 'bool' else spec.unit or 'number'}): {spec.meaning}"

    @cached_property
    def _common_facts(self) -> tuple[str, ...]:
        """Facts that a quarter of the disorders ask for."""
        asked = {name: sum(name in offer.facts for offer in self._offers.values()) for name in self.facts}
        return tuple(name for name, n in asked.items() if n * 4 >= len(self._offers))

    def gate(
        self, claims: Sequence[Evidence | Fact], turns: Sequence[Turn], quotes: Sequence[str] = ()
    ) -> tuple[tuple[Evidence, ...], tuple[Fact, ...], tuple[Dropped, ...]]:
        """New claims against all turns so far, the last one new -> accepted evidence, accepted facts, refused.

        `quotes`, where they are known, are the words of each claim's sentence that it rests on.
        """
        return gates.sift(claims, turns, self._offers, Clock(self.durations), quotes)

    def assess(self, evidence: Sequence[Evidence], facts: Sequence[Fact]) -> tuple[Finding, ...]:
        """A finding per system for each disorder that accepted evidence or a fact names. The order does not matter."""
        return tuple(ruling.finding for ruling in self.rule(evidence, facts))

    def rule(
        self, evidence: Sequence[Evidence], facts: Sequence[Fact], also: Sequence[str] = ()
    ) -> tuple[engine.Ruling, ...]:
        """As `assess`, with where each points to and what its codes rest on; `also` names disorders judged anyway."""
        named = {e.disorder for e in evidence} | {name for fact in facts for name in fact.disorders} | set(also)
        rulings = [
            engine.judge(
                disorder,
                system,
                engine.relaxed(block) if self.lenient else block,
                engine.known(disorder, evidence, facts, self.facts),
            )
            for disorder in self.disorders.values()
            if disorder.id in named
            for system, block in self._blocks(disorder).items()
        ]
        return engine.settle(rulings, self.relations.mutually_exclusive)

    def code_status(self, code: str, system: System, disorder: str, ruling: engine.Ruling | None) -> coding.Status:
        """How a proposed code stands to a ruling; without one, to a disorder that the system does not know."""
        nearest = self.disorders[disorder].nearest_icd10cm
        if ruling is not None:
            return ruling.code_status(code, self.codes(system))
        if system == "dsm5tr" and code.strip().upper() in nearest:
            return "valid"
        return coding.status(code, system, None, (), (), None, None, self.codes(system))

    def codes(self, system: System) -> tuple[str, ...]:
        """Every code of a system that the files list, of disorders and factors."""
        found = [
            code
            for disorder in self.disorders.values()
            for each, block in disorder.blocks().items()
            if each == system
            for code in (*block.codes, *block.more_codes)
        ]
        listed = [factor.icd10cm if system == "dsm5tr" else factor.icd11 for factor in self.factors.values()]
        return (*found, *(code for codes in listed for code in codes))

    def grade(
        self, proposed: Sequence[Risk], turns: Sequence[Turn], cleared: Mapping[str, Collection[int]] | None = None
    ) -> tuple[Risk, ...]:
        """Suicide, and each further domain above level 0: the highest of screen, proposal and what was reached.

        `cleared`: domain -> sentences that count for it no longer.
        """
        gone = cleared or {}
        graded = (
            risk.grade(self.screen, name, domain, proposed, turns, gone.get(name, ()))
            for name, domain in self.risk_table.domains.items()
        )
        return tuple(found for found in graded if found.level > 0 or found.domain == "suicide")

    def mode(self, risks: Sequence[Risk]) -> Mode:
        """The most urgent mode."""
        found = risk.worst(risks)
        return found.mode if found else "ordinary"

    def protocol(self, risks: Sequence[Risk]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(must, must not) of the most urgent risk; both empty in ordinary mode."""
        return risk.protocol(self.risk_table, risks)

    def locked_classes(self, mode: Mode) -> frozenset[str]:
        """Technique classes that a mode locks."""
        return risk.locked_classes(self.risk_table, mode)

    @cached_property
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

    def unverified_contacts(self) -> tuple[str, ...]:
        """Names of the crisis contacts that nobody has checked yet."""
        return tuple(c.name for c in self.contact_table.contacts if c.checked == "unverified")

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
