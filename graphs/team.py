"""The counselling side of the graph for one turn, and a table from which a role can be left out.

Team answers a client's words outside a grown dialogue: diagnose, respond, critique, revise. `without` makes a cast in
which one role says nothing, so that graph and team can be compared with and without each agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from agents import checks, critic, therapist
from agents.cast import Asker, Cast
from graphs.grounding import ground
from prompts.library import Modality
from psyllm.messages import Prompt, Step
from psyllm.records import Decision, ReplyDraft, Role, Turn

Answered = TypeVar("Answered", bound=BaseModel)
_ASSENT: dict[str, Any] = {"reasons": [], "decision": "accept", "guidance": ""}


@dataclass(frozen=True)
class Silent:
    """Whoever answers the others, with one role left out: the critic lets everything pass, the diagnostician finds
    nothing. What code checks stays in force."""

    asker: Asker
    role: Role

    async def ask(self, step: Step, prompt: Prompt, schema: type[Answered]) -> tuple[Answered, str]:
        if prompt.role != self.role:
            return await self.asker.ask(step, prompt, schema)
        return schema.model_validate(_unsaid(schema)), ""

    def rehearsed(self, dialogue_id: str) -> bool:
        return self.asker.rehearsed(dialogue_id)

    def native(self, role: Role) -> bool:
        return self.asker.native(role)


def without(cast: Cast, role: Role) -> Cast:
    """The cast with the critic or the diagnostician silent."""
    return replace(cast, asker=Silent(cast.asker, role))


def _unsaid(schema: type[BaseModel]) -> dict[str, Any]:
    """What a role that is left out would have had to say for everything to go on."""
    name = schema.model_json_schema()["title"]
    if name == "diagnosis":
        return {"evidence": [], "facts": [], "risks": [], "questions": []}
    if name == "evidence_check":
        items = schema.model_json_schema()["properties"]["verdicts"].get("maxItems", 0)
        return {"verdicts": [{"item": n + 1, "why": "", "holds": True} for n in range(items)], "lowered": []}
    if name == "reply_critique":
        return _ASSENT | {"scores": dict.fromkeys(critic.Scores.model_fields, 5), "markers": [], "anti": []}
    return _ASSENT


@dataclass(frozen=True)
class Team:
    """Our agents as one counsellor, in one modality."""

    cast: Cast
    modality: Modality

    async def answer(self, step: Step, turns: Sequence[Turn]) -> Turn:
        """The last turn with evidence, verdicts, risk, and the reply that the critic let pass, or its last draft.

        Raises Failure as Caller.ask does.
        """

        def at(node: str, attempt: int = 0) -> Step:
            return replace(step, node=f"{step.node}.{node}", attempt=attempt)

        now = await ground(self.cast, at("diagnose"), at("verify"), turns)
        drafts: tuple[ReplyDraft, ...] = ()
        heard = (*turns[:-1], now)
        while True:
            attempt = len(drafts)
            reply = await therapist.respond(self.cast, at("respond", attempt), self.modality, heard, drafts)
            if reasons := checks.check_reply(self.cast.knowledge, self.modality, heard, reply):
                critique = checks.sent_back("therapist", reasons)
            else:
                step_ = at("critique", attempt)
                critique = await critic.judge_reply(self.cast, step_, self.modality, heard, reply)
            if critique.decision is Decision.ACCEPT or attempt >= self.cast.rules.max_revisions:
                return now.model_copy(update={"reply": reply, "critique": critique, "drafts": drafts})
            drafts = (*drafts, ReplyDraft(reply=reply, critique=critique))
