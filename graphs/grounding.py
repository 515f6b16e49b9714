"""What the client's last turn supports: proposed by the diagnostician, sifted by gates in code, read a second time.

proposal -> gates -> second reader -> evidence and facts -> verdicts by the engine
screen and proposal, the higher -> second reader may clear a sentence of this turn, with a quote -> risk
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from agents import checks, critic, diagnostician
from agents.cast import Cast
from agents.critic import LoweredReply
from clinical import Knowledge
from psyllm.messages import Step
from psyllm.records import Cleared, Dropped, Evidence, Fact, Risk, Turn

SECOND_READER = "second_reader"
"""The gate under which Turn.dropped holds what the second reader did not confirm."""


async def ground(cast: Cast, propose: Step, verify: Step, turns: Sequence[Turn]) -> Turn:
    """The last turn with its evidence, verdicts and risk: one call, and a second one if there is anything to read."""
    *before, now = turns
    knowledge = cast.knowledge
    answer = await diagnostician.diagnose(cast, propose, turns)
    evidence, facts, dropped = knowledge.gate(answer.claims(), turns)
    proposed = [Risk(domain=r.domain, level=r.level, sentences=tuple(r.sentences)) for r in answer.risks]
    risks = _grade(knowledge, proposed, turns, _cleared(before))
    standing = {risk.domain: risk.level for risk in before[-1].risks} if before else {}
    raised = [risk for risk in risks if risk.level > standing.get(risk.domain, 0)]
    claims: tuple[Evidence | Fact, ...] = (*evidence, *facts)
    if claims or raised:
        check = await critic.check_evidence(cast, verify, turns, claims, raised)
        refused = _refused(claims, check.verdicts)
        dropped += refused
        out = [item.claim for item in refused]
        evidence = tuple(item for item in evidence if item not in out)
        facts = tuple(item for item in facts if item not in out)
        risks = _lower(knowledge, proposed, turns, risks, _shown(check.lowered, raised, turns))
    return now.model_copy(
        update={
            "evidence": evidence,
            "facts": facts,
            "dropped": dropped,
            "questions": tuple(answer.questions),
            "findings": knowledge.assess(
                [*(e for turn in before for e in turn.evidence), *evidence],
                [*(f for turn in before for f in turn.facts), *facts],
            ),
            "risks": risks,
            "mode": knowledge.mode(risks),
        }
    )


def _refused(claims: Sequence[Evidence | Fact], verdicts: Iterable[critic.ItemVerdict]) -> tuple[Dropped, ...]:
    """The claims that the second reader did not confirm; one that it passed over is not confirmed."""
    read = {verdict.item: verdict for verdict in verdicts}
    return tuple(
        Dropped(claim=claim, gate=SECOND_READER, why=read[n].why if n in read else "passed over")
        for n, claim in enumerate(claims, 1)
        if n not in read or not read[n].holds
    )


def _shown(lowered: Iterable[LoweredReply], raised: Iterable[Risk], turns: Sequence[Turn]) -> dict[str, list[Cleared]]:
    """Domain -> the sentences to clear: of this turn alone, and each with words that the client really said."""
    levels = {risk.domain: risk.level for risk in raised}
    new = {sentence.n for sentence in turns[-1].client}
    spoken = [sentence.text for turn in turns for sentence in turn.client]
    found: dict[str, list[Cleared]] = {}
    for item in lowered:
        if item.domain in levels and item.sentence in new and checks.verbatim(item.quote, spoken):
            taken = Cleared(sentence=item.sentence, kind=item.kind, quote=item.quote, level=levels[item.domain])
            found.setdefault(item.domain, []).append(taken)
    return found


def _lower(
    knowledge: Knowledge,
    proposed: Sequence[Risk],
    turns: Sequence[Turn],
    risks: tuple[Risk, ...],
    shown: Mapping[str, Sequence[Cleared]],
) -> tuple[Risk, ...]:
    """The risks graded again without what was cleared now or before."""
    if not shown:
        return risks
    gone = _cleared(turns[:-1])
    for domain, cleared in shown.items():
        gone[domain] = gone.get(domain, set()) | {item.sentence for item in cleared}
    again = _grade(knowledge, proposed, turns, gone)
    return tuple(risk.model_copy(update={"cleared": tuple(shown.get(risk.domain, ()))}) for risk in again)


def _cleared(turns: Sequence[Turn]) -> dict[str, set[int]]:
    """Domain -> sentences that count for it no longer."""
    gone: dict[str, set[int]] = {}
    for turn in turns:
        for risk in turn.risks:
            gone.setdefault(risk.domain, set()).update(item.sentence for item in risk.cleared)
    return gone


def _grade(
    knowledge: Knowledge, proposed: Sequence[Risk], turns: Sequence[Turn], gone: Mapping[str, set[int]]
) -> tuple[Risk, ...]:
    """Every domain after the last turn; one with cleared sentences is graded as if they had not been said.

    What earlier turns reached stands all the same: it is held by their own risks.
    """

    def graded(domain: str) -> Risk:
        numbers = gone[domain]
        heard = [
            turn.model_copy(update={"client": tuple(s for s in turn.client if s.n not in numbers)}) for turn in turns
        ]
        left = [
            risk.model_copy(update={"sentences": tuple(n for n in risk.sentences if n not in numbers)})
            for risk in proposed
            if not risk.sentences or not numbers.issuperset(risk.sentences)
        ]
        return next(risk for risk in knowledge.grade(left, heard) if risk.domain == domain)

    return tuple(graded(risk.domain) if gone.get(risk.domain) else risk for risk in knowledge.grade(proposed, turns))
