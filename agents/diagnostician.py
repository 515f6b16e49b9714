"""The diagnostician proposes evidence by sentence number; gates and the engine in clinical/ decide.

It is sent the criteria of a shortlist alone, at most six disorders that the words point at; risk it always grades.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, Field, create_model

from agents.cast import Cast
from agents.schema import Line, list_of, one_of
from clinical import Knowledge
from prompts.blocks import TRANSCRIPT_END, transcript
from psyllm.messages import Message, Prompt, Step
from psyllm.records import Evidence, Fact, Polarity, Turn

SentenceNumber = Annotated[int, Field(ge=1, le=500)]


class EvidenceReply(BaseModel):
    criterion: str
    """As disorder.criterion, e.g. mdd.A1."""
    sentence: SentenceNumber
    polarity: Polarity


class FactReply(BaseModel):
    fact: str
    value: bool | float
    sentence: SentenceNumber
    disorder: str


class RiskReply(BaseModel):
    domain: str
    level: int = Field(ge=0, le=6)
    sentences: list[SentenceNumber] = Field(max_length=6)


class DiagnosisReply(BaseModel):
    evidence: list[EvidenceReply] = Field(max_length=8)
    facts: list[FactReply] = Field(max_length=6)
    risks: list[RiskReply] = Field(max_length=4)
    questions: list[Line] = Field(max_length=4)

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


@lru_cache(maxsize=512)
def diagnosis_schema(knowledge: Knowledge, disorders: tuple[str, ...]) -> type[DiagnosisReply]:
    """The answer's schema with the criteria and facts of these disorders, and every risk domain."""
    criteria, facts = knowledge.criterion_ids_of(disorders), knowledge.fact_names_of(disorders)
    evidence = create_model("EvidenceItem", __base__=EvidenceReply, criterion=(one_of(criteria or ("none",)), ...))
    fact = create_model(
        "FactItem",
        __base__=FactReply,
        fact=(one_of(facts or ("none",)), ...),
        disorder=(one_of(disorders or ("none",)), ...),
    )
    risk = create_model("RiskItem", __base__=RiskReply, domain=(one_of(knowledge.risk_domains), ...))
    return create_model(
        "diagnosis",
        __base__=DiagnosisReply,
        evidence=(list_of(evidence), Field(max_length=8 if criteria else 0)),
        facts=(list_of(fact), Field(max_length=6 if facts else 0)),
        risks=(list_of(risk), Field(max_length=len(knowledge.risk_domains))),
    )


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
