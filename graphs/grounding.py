"""What the client's last turn supports: proposed by the diagnostician, sifted by gates in code, read a second time.

proposal -> gates -> second reader -> evidence and facts -> verdicts by the engine
screen and proposal, the higher -> second reader may clear a sentence of this turn, with a quote -> risk, which in that
turn stays in `explore` at least if it was graver
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents import checks, critic, diagnostician
from agents.cast import Cast
from agents.critic import LoweredReply
from clinical import Knowledge
from clinical.risk import graver
from psyllm.messages import Step
from psyllm.records import SAFETY_MODES, Cleared, Dropped, Evidence, Fact, Mode, Refused, Risk, Turn

SECOND_READER = "second_reader"
"""The gate under which Turn.dropped holds what the second reader did not confirm."""


async def ground(cast: Cast, propose: Step, verify: Step, turns: Sequence[Turn]) -> Turn:
    """The last turn with its evidence, verdicts and risk: one call, and a second one if there is anything to read."""
    *before, now = turns
    knowledge = cast.knowledge
    answer = await diagnostician.diagnose(cast, propose, turns)
    evidence, facts, dropped = knowledge.gate(answer.claims(), turns)
    proposed = [Risk(domain=r.domain, level=r.level, sentences=tuple(r.sentences)) for r in answer.risks]
    risks = knowledge.grade(proposed, turns, _cleared(before))
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
        risks = _lower(knowledge, proposed, turns, risks, check.lowered)
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


def _lower(
    knowledge: Knowledge,
    proposed: Sequence[Risk],
    turns: Sequence[Turn],
    risks: tuple[Risk, ...],
    lowered: Sequence[LoweredReply],
) -> tuple[Risk, ...]:
    """The risks graded again without what is cleared now or was before, with what was cleared and what was refused.

    A danger that was graver than `explore` stays there for this turn.
    """
    gone = _cleared(turns[:-1])
    levels = {risk.domain: risk.level for risk in risks}
    cleared: dict[str, list[Cleared]] = {}
    refused: dict[str, list[Refused]] = {}
    for item in lowered:
        if why := _unfounded(item, turns):
            kept = Refused(sentence=item.sentence, kind=item.kind, quote=item.quote, why=why)
            refused.setdefault(item.domain, []).append(kept)
        else:
            taken = Cleared(sentence=item.sentence, kind=item.kind, quote=item.quote, level=levels[item.domain])
            cleared.setdefault(item.domain, []).append(taken)
            gone.setdefault(item.domain, set()).add(item.sentence)
    again = {risk.domain: risk for risk in knowledge.grade(proposed, turns, gone)}

    def settled(was: Risk) -> Risk:
        risk = again.get(was.domain, Risk(domain=was.domain, level=0))
        floor: Mode = "explore" if was.mode in SAFETY_MODES else "ordinary"
        return risk.model_copy(
            update={
                "mode": graver(risk.mode, floor),
                "cleared": tuple(cleared.get(was.domain, ())),
                "refused": tuple(refused.get(was.domain, ())),
            }
        )

    return tuple(settled(risk) for risk in risks)


def _unfounded(item: LoweredReply, turns: Sequence[Turn]) -> str:
    """Why a sentence may not be cleared: only one of this turn may be, and with words that the client really said."""
    if item.sentence not in {sentence.n for sentence in turns[-1].client}:
        return f"s{item.sentence} is not of this turn"
    spoken = [sentence.text for turn in turns for sentence in turn.client]
    return "" if checks.verbatim(item.quote, spoken) else "the quote is not three words or more of the client's"


def _cleared(turns: Sequence[Turn]) -> dict[str, set[int]]:
    """Domain -> sentences that count for it no longer."""
    gone: dict[str, set[int]] = {}
    for turn in turns:
        for risk in turn.risks:
            gone.setdefault(risk.domain, set()).update(item.sentence for item in risk.cleared)
    return gone
