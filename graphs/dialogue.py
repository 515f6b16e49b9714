"""One dialogue: plan, then per round patient, hear, diagnose, respond, critique; at last finalise.

With `client_words = "real"` the client's words are those of the source: no patient is asked, and `hear` only asks
whether they still answer the counsellor.

`hear` judges the client's words, `critique` the therapist's: each is checked by code first and by the critic model
second, and accepts, sends back with the reason (bounded), or rejects. What each role is shown is decided in agents/;
where the dialogue goes next is decided here, and only here. With `reviewed`, the graph stops before finalise
(a LangGraph interrupt) until it is resumed with what a person says: a Label.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal, TypedDict

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from agents import checks, critic, patient, planner, therapist
from agents.cast import Cast
from graphs.choice import Choice
from graphs.grounding import ground
from prompts.library import Modality
from psyllm import __version__
from psyllm.labels import Label
from psyllm.messages import Step
from psyllm.records import (
    ROLES,
    CasePlan,
    Critique,
    Decision,
    Dialogue,
    PatientDraft,
    Post,
    Provenance,
    Reason,
    Reply,
    ReplyDraft,
    Sentence,
    Status,
    Turn,
)

STEP_LIMIT = 400
"""More than the longest dialogue can take: 8 rounds of 5 nodes with 5 revisions on both sides."""


class DialogueState(TypedDict, total=False):
    post: Post
    repeat: int
    id: str
    """Given to a fork only; otherwise it follows from seed, post and repeat."""
    forked_from: str
    """The parent's id; only in a fork."""
    plan: CasePlan
    turns: tuple[Turn, ...]
    """Finished turns, and at the end the one under way."""
    client_drafts: tuple[PatientDraft, ...]
    """This round's client turns that were sent back."""
    reply_drafts: tuple[ReplyDraft, ...]
    """This round's replies that were sent back."""
    client_ends: bool
    """The client closes the conversation with this turn."""
    status: Status
    reasons: tuple[Reason, ...]
    dialogue: Dialogue
    """The result, set by finalise."""


def dialogue_id(seed: int, post_id: str, repeat: int) -> str:
    """16 hex digits; the same for the same post, repeat and seed on any machine."""
    return hashlib.sha256(f"{seed}/{post_id}/{repeat}".encode()).hexdigest()[:16]


def id_of(cast: Cast, state: DialogueState) -> str:
    """The id of the dialogue in this state."""
    return state.get("id") or dialogue_id(cast.rules.seed, state["post"].id, state.get("repeat", 0))


def round_under_way(state: DialogueState) -> int:
    """1-based; 0 while the case is being planned."""
    turns = state.get("turns", ())
    return len(turns) + (not turns or _closed(turns[-1])) if "plan" in state else 0


def finish(cast: Cast, state: DialogueState, status: Status, reasons: tuple[Reason, ...]) -> Dialogue:
    """The record of a dialogue that ended in this state."""
    post, plan = state["post"], state.get("plan")
    turns = state.get("turns", ())
    roles = cast.library.roles
    real = cast.rules.client_words == "real"
    used = [roles[name].ref for name in ROLES if not (real and name == "patient")]
    if plan is not None:
        used.append(cast.library.modality(plan.modality.chosen).ref)
    over = plan is not None and (state.get("client_ends", False) or len(turns) == _last_round(cast, state))
    whole = over and bool(turns) and _closed(turns[-1])
    own_id = id_of(cast, state)
    return Dialogue(
        id=own_id,
        post_id=post.id,
        repeat=state.get("repeat", 0),
        status=status,
        reasons=reasons,
        plan=plan,
        turns=turns,
        ended_by=("source" if real else "patient" if state.get("client_ends") else "plan") if whole else "none",
        forked_from=state.get("forked_from"),
        provenance=Provenance(
            models=cast.models,
            prompts=tuple(used),
            seed=cast.rules.seed,
            software_version=__version__,
            source=post.source,
            license=post.license,
            rehearsal=cast.asker.rehearsed(own_id),
        ),
    )


def real_words(post: Post) -> tuple[str, ...]:
    """What the client of the source said, message by message."""
    return post.utterances or (post.text,)


def _last_round(cast: Cast, state: DialogueState) -> int:
    """1-based."""
    if cast.rules.client_words == "real":
        return min(len(real_words(state["post"])), cast.rules.max_rounds)
    return len(state["plan"].rounds)


class Nodes:
    """The graph's nodes, around one cast."""

    def __init__(self, cast: Cast, *, reviewed: bool = False) -> None:
        self.cast = cast
        self.reviewed = reviewed

    async def plan(self, state: DialogueState) -> Command[Literal["patient", "finalise"]]:
        post = Post.model_validate(state["post"])
        known: DialogueState = {"post": post, "repeat": state.get("repeat", 0), "turns": ()}
        choice = Choice.for_post(self.cast, post)
        if not choice.candidates:
            why = Reason(code="no_modality_fits", role="run", detail=choice.refusal)
            return _end(known, Status.SCREENED_OUT, (why,))
        step = self._step({**state, **known}, "plan", 0)
        answer = await planner.plan(self.cast, step, post, choice.candidates)
        if not answer.suitable:
            why = Reason(code="post_unsuitable", role="planner", detail=answer.unsuitable_because)
            return _end(known, Status.SCREENED_OUT, (why,))
        known["plan"] = planner.case_plan(answer)
        if reasons := checks.check_plan(known["plan"], post):
            return _end(known, Status.REJECTED, reasons)
        return Command(goto="patient", update={**known, "client_drafts": (), "reply_drafts": ()})

    async def patient(self, state: DialogueState) -> Command[Literal["hear"]]:
        plan, turns, drafts = state["plan"], state["turns"], state["client_drafts"]
        number = len(turns) + 1
        if self._real:
            sentences, ends = split_sentences(real_words(state["post"])[number - 1]), False
        else:
            step = self._step(state, "patient", len(drafts), number)
            spoken = await patient.speak(self.cast, step, plan, turns, drafts)
            sentences, ends = spoken.sentences, spoken.ends and number >= self.cast.rules.min_rounds
        first = turns[-1].client[-1].n + 1 if turns else 1
        words = tuple(Sentence(n=n, text=text) for n, text in enumerate(sentences, first))
        turn = Turn(round=number, client=words, client_drafts=drafts)
        return Command(goto="hear", update={"turns": (*turns, turn), "client_ends": ends})

    async def hear(self, state: DialogueState) -> Command[Literal["diagnose", "patient", "finalise"]]:
        *before, now = state["turns"]
        drafts = state["client_drafts"]
        if self._real:
            return await self._hear_real(state)
        if reasons := checks.check_client(state["plan"], state["turns"]):
            critique = checks.sent_back("patient", reasons)
        else:
            step = self._step(state, "hear", len(drafts), now.round)
            critique = await critic.judge_client(self.cast, step, state["plan"], state["turns"])
        judged = now.model_copy(update={"client_critique": critique})
        if critique.decision is Decision.ACCEPT:
            return Command(goto="diagnose", update={"turns": (*before, judged)})
        if critique.decision is Decision.REVISE and len(drafts) < self.cast.rules.max_revisions:
            draft = PatientDraft(sentences=tuple(s.text for s in now.client), critique=critique)
            return Command(goto="patient", update={"turns": tuple(before), "client_drafts": (*drafts, draft)})
        return _end({"turns": (*before, judged)}, Status.REJECTED, critique.reasons)

    async def _hear_real(self, state: DialogueState) -> Command[Literal["diagnose", "patient", "finalise"]]:
        """Real words are never sent back: they go on, or the dialogue ends before them."""
        *before, now = state["turns"]
        if before:
            answer = await critic.still_answers(self.cast, self._step(state, "hear", 0, now.round), state["turns"])
            if not answer.answers:
                why = Reason(code="source_no_longer_answers", role="run", round=now.round, detail=answer.why)
                enough = len(before) >= self.cast.rules.min_rounds
                known: DialogueState = {"turns": tuple(before), "client_ends": True}
                return _end(known, Status.ACCEPTED if enough else Status.REJECTED, (why,))
        by: Literal["code", "model"] = "model" if before else "code"
        judged = now.model_copy(update={"client_critique": Critique(target="patient", by=by, decision=Decision.ACCEPT)})
        return Command(goto="diagnose", update={"turns": (*before, judged)})

    async def diagnose(self, state: DialogueState) -> Command[Literal["respond"]]:
        *before, now = state["turns"]
        propose, verify = (self._step(state, name, 0, now.round) for name in ("diagnose", "verify"))
        grounded = await ground(self.cast, propose, verify, state["turns"])
        return Command(goto="respond", update={"turns": (*before, grounded)})

    async def respond(self, state: DialogueState) -> Command[Literal["critique"]]:
        *before, now = state["turns"]
        drafts = state["reply_drafts"]
        step = self._step(state, "respond", len(drafts), now.round)
        heard = now.model_copy(update={"reply": None})
        reply = await therapist.respond(self.cast, step, self._modality(state), (*before, heard), drafts)
        answered = now.model_copy(update={"reply": reply, "critique": None, "drafts": drafts})
        return Command(goto="critique", update={"turns": (*before, answered)})

    async def critique(self, state: DialogueState) -> Command[Literal["patient", "respond", "review", "finalise"]]:
        *before, now = state["turns"]
        drafts, reply, modality = state["reply_drafts"], _said(now), self._modality(state)
        heard = (*before, now.model_copy(update={"reply": None}))
        if reasons := checks.check_reply(self.cast.knowledge, modality, heard, reply):
            critique = checks.sent_back("therapist", reasons)
        else:
            step = self._step(state, "critique", len(drafts), now.round)
            critique = await critic.judge_reply(self.cast, step, modality, heard, reply)
        turns = (*before, now.model_copy(update={"critique": critique}))
        if critique.decision is Decision.ACCEPT:
            over = state["client_ends"] or len(turns) == _last_round(self.cast, state)
            return Command(
                goto="review" if over else "patient", update={"turns": turns, "client_drafts": (), "reply_drafts": ()}
            )
        if critique.decision is Decision.REVISE and len(drafts) < self.cast.rules.max_revisions:
            draft = ReplyDraft(reply=reply, critique=critique)
            return Command(goto="respond", update={"turns": turns, "reply_drafts": (*drafts, draft)})
        return _end({"turns": turns}, Status.REJECTED, critique.reasons)

    async def review(self, state: DialogueState) -> Command[Literal["respond", "finalise"]]:
        """Passes where nobody reviews, and what the checks of the whole dialogue would refuse anyway."""
        if not self.reviewed or checks.check_dialogue(state["turns"]):
            return Command(goto="finalise")
        said = Label.model_validate(interrupt(id_of(self.cast, state)))
        if said.verdict == "accept":
            return Command(goto="finalise")
        if said.verdict == "reject":
            why = Reason(code="rejected_by_person", role="dialogue", round=said.round, detail=said.comment)
            return _end({}, Status.REJECTED, (why,))
        turns = state["turns"][: said.round or None]
        now = turns[-1]
        critique = Critique(target="therapist", by="person", decision=Decision.REVISE, guidance=said.comment)
        draft = ReplyDraft(reply=_said(now), critique=critique)
        ends = state["client_ends"] and len(turns) == len(state["turns"])
        return Command(
            goto="respond", update={"turns": turns, "reply_drafts": (*now.drafts, draft), "client_ends": ends}
        )

    async def finalise(self, state: DialogueState) -> dict[str, Dialogue]:
        status, reasons = state.get("status", Status.ACCEPTED), state.get("reasons", ())
        if status is Status.ACCEPTED and (found := checks.check_dialogue(state["turns"])):
            status, reasons = Status.REJECTED, found
        return {"dialogue": finish(self.cast, state, status, reasons)}

    @property
    def _real(self) -> bool:
        return self.cast.rules.client_words == "real"

    def _step(self, state: DialogueState, node: str, attempt: int, number: int = 0) -> Step:
        post, repeat = state["post"], state["repeat"]
        return Step(
            dialogue_id=id_of(self.cast, state),
            post_id=post.id,
            repeat=repeat,
            round=number,
            node=node,
            attempt=attempt,
        )

    def _modality(self, state: DialogueState) -> Modality:
        return self.cast.library.modality(state["plan"].modality.chosen)


def build_graph(cast: Cast, reviews: BaseCheckpointSaver[str] | None = None) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The compiled state machine. Invoke it with {"post": Post, "repeat": int}; the result is in "dialogue".

    With a checkpointer in `reviews` it waits for a person before an accepted dialogue is final.
    """
    nodes = Nodes(cast, reviewed=reviews is not None)
    graph = StateGraph(DialogueState)
    graph.add_node("plan", nodes.plan)
    graph.add_node("patient", nodes.patient)
    graph.add_node("hear", nodes.hear)
    graph.add_node("diagnose", nodes.diagnose)
    graph.add_node("respond", nodes.respond)
    graph.add_node("critique", nodes.critique)
    graph.add_node("review", nodes.review)
    graph.add_node("finalise", nodes.finalise)
    graph.add_edge(START, "plan")
    graph.set_finish_point("finalise")
    return graph.compile(checkpointer=reviews)


def split_sentences(text: str) -> list[str]:
    """A message as sentences, none of them with a line break in it."""
    return [" ".join(piece.split()) for piece in _SENTENCE_END.split(text) if piece.strip()]


_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"”’')]*\s+|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


def _end(known: DialogueState, status: Status, reasons: tuple[Reason, ...]) -> Command[Any]:
    return Command(goto="finalise", update={**known, "status": status, "reasons": reasons})


def _closed(turn: Turn) -> bool:
    return turn.critique is not None and turn.critique.decision is Decision.ACCEPT


def _said(turn: Turn) -> Reply:
    if turn.reply is None:
        raise ValueError(f"round {turn.round} has no reply to judge")
    return turn.reply
