"""The diagnostician proposes evidence by sentence number; gates and the engine in clinical/ decide.

It is sent the criteria of a shortlist alone, at most six disorders that the words point at; risk it always grades.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, Field, create_model, model_validator

from agents.cast import Cast
from agents.schema import Line
from clinical import Knowledge
from prompts.blocks import TRANSCRIPT_END, transcript
from psyllm.messages import Message, Prompt, Step
from psyllm.records import Evidence, Fact, Polarity, Turn

SentenceNumber = Annotated[int, Field(ge=1, le=500)]


class EvidenceItem(BaseModel):
    criterion: str
    """As disorder.criterion, e.g. mdd.A1."""
    sentence: SentenceNumber
    polarity: Polarity


class FactItem(BaseModel):
    fact: str
    value: bool | float
    sentence: SentenceNumber
    disorder: str


class RiskItem(BaseModel):
    domain: str
    level: int = Field(ge=0, le=6)
    sentences: list[SentenceNumber] = Field(max_length=6)


class Offer(NamedTuple):
    """What one answer may name."""

    criteria: tuple[str, ...]
    facts: tuple[str, ...]
    disorders: tuple[str, ...]
    domains: tuple[str, ...]


class DiagnosisReply(BaseModel):
    """What the diagnostician answers. `diagnosis_schema` narrows it to what is on offer."""

    evidence: list[EvidenceItem] = Field(max_length=8)
    facts: list[FactItem] = Field(max_length=6)
    risks: list[RiskItem] = Field(max_length=8)
    questions: list[Line] = Field(max_length=4)
    offer: ClassVar[Offer | None] = None

    @model_validator(mode="after")
    def _on_offer(self) -> Self:
        if self.offer is None:
            return self
        named = {
            "evidence criterion": ([item.criterion for item in self.evidence], self.offer.criteria),
            "facts fact": ([item.fact for item in self.facts], self.offer.facts),
            "facts disorder": ([item.disorder for item in self.facts], self.offer.disorders),
            "risks domain": ([item.domain for item in self.risks], self.offer.domains),
        }
        for place, (names, offered) in named.items():
            if unknown := [name for name in names if name not in offered]:
                raise ValueError(f"{place} {unknown[0]!r} is not on offer; there is {', '.join(offered) or 'none'}")
        return self

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As pydantic's, with the names on offer. A run has a thousand lists; to have pydantic make each takes 4 ms."""
        if cls.offer is None:
            return super().model_json_schema(*args, **kwargs)
        schema = copy.deepcopy(_any_diagnosis()) | {"title": cls.__name__}
        criteria, facts, disorders, domains = cls.offer
        for item, field, names in (
            ("EvidenceItem", "criterion", criteria),
            ("FactItem", "fact", facts),
            ("FactItem", "disorder", disorders),
            ("RiskItem", "domain", domains),
        ):
            words = names or ("none",)
            schema["$defs"][item]["properties"][field] |= {"enum": words} if words[1:] else {"const": words[0]}
        for place, names in (("evidence", criteria), ("facts", facts)):
            if not names:
                schema["properties"][place]["maxItems"] = 0
        return schema

    def claims(self) -> tuple[Evidence | Fact, ...]:
        """The proposals as records, evidence first."""
        evidence = []
        for item in self.evidence:
            disorder, _, criterion = item.criterion.partition(".")
            evidence.append(
                Evidence(disorder=disorder, criterion=criterion, sentence=item.sentence, polarity=item.polarity)
            )
        facts = [
            Fact(name=item.fact, value=item.value, sentence=item.sentence, disorders=(item.disorder,))
            for item in self.facts
        ]
        return (*evidence, *facts)


@cache
def _any_diagnosis() -> dict[str, Any]:
    schema = DiagnosisReply.model_json_schema()
    del schema["description"]
    return schema


@lru_cache(maxsize=256)
def diagnosis_schema(knowledge: Knowledge, disorders: tuple[str, ...]) -> type[DiagnosisReply]:
    """The answer's schema with the criteria and facts of these disorders, and every risk domain."""
    schema = create_model("diagnosis", __base__=DiagnosisReply)
    schema.offer = Offer(
        knowledge.criterion_ids_of(disorders), knowledge.fact_names_of(disorders), disorders, knowledge.risk_domains
    )
    return schema


async def diagnose(cast: Cast, step: Step, turns: Sequence[Turn]) -> DiagnosisReply:
    """One call on the words spoken so far; the last turn is the new one."""
    role = cast.library.roles["diagnostician"]
    disorders = cast.knowledge.shortlist(turns)
    new = [sentence.n for sentence in turns[-1].client]
    standing = [f"{e.disorder}.{e.criterion} {e.polarity} s{e.sentence}" for t in turns for e in t.evidence]
    standing += [f"{f.name}={f.value} s{f.sentence}" for t in turns for f in t.facts]
    parts = (
        *([cast.knowledge.describe(disorders)] if disorders else []),
        *transcript(turns, numbered=True),
        TRANSCRIPT_END,
        role.render("task", round=step.round, first=new[0], last=new[-1], standing=standing),
    )
    prompt = Prompt(
        role="diagnostician",
        messages=(
            Message("system", (role.render("system", risk_levels=cast.knowledge.risk_guide()),)),
            Message("user", parts),
        ),
        refs=(role.ref,),
    )
    answer, _ = await cast.asker.ask(step, prompt, diagnosis_schema(cast.knowledge, tuple(sorted(disorders))))
    return answer
