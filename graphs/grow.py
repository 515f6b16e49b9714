"""Grows a corpus: many dialogues side by side, each its own run of the graph. Calls are gated, dialogues are not.

A failure ends one dialogue and is written into it. Only a fatal one (a refused key, a dead endpoint, a full disk)
stops the run: calls in flight end, and the same command goes on later.

With `reviews`, a dialogue that would be accepted is kept as in review, and its place goes to the next. Once a person
has said something of it, it is walked again from the journal, at no cost, and resumed with what they said.
"""

from __future__ import annotations

import asyncio
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command

from agents.cast import Cast
from corpus.screen import screen
from graphs.dialogue import (
    STEP_LIMIT,
    DialogueState,
    build_graph,
    dialogue_id,
    finish,
    id_of,
    real_words,
    round_under_way,
)
from psyllm.calls import Caller
from psyllm.errors import Failure, PsyllmError, UsageError
from psyllm.journal import Journal
from psyllm.labels import Label, Labels
from psyllm.records import CasePlan, Decision, Dialogue, Post, Reason, Status, Turn

FAILED_IN_A_ROW = 10
REVIEW_POLL_S = 0.5
_KEPT = [(kind.__module__, kind.__name__) for kind in (CasePlan, Decision, Dialogue, Post, Status, Turn)]
"""What a checkpoint holds of ours."""
log = structlog.get_logger()


@dataclass
class Tally:
    """How far a run is, for the screen."""

    total: int
    before: int = 0
    """Dialogues that were finished when this process started."""
    open: int = 0
    by_status: Counter[Status] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        return self.before + self.by_status.total() - self.by_status[Status.IN_REVIEW]


class Grower:
    """Runs the graph over posts until all are done, `stop` is called, or a failure is fatal."""

    def __init__(
        self,
        cast: Cast,
        caller: Caller,
        journal: Journal,
        posts: Iterable[Post],
        *,
        open_dialogues: int,
        total: int | None = None,
        before: int = 0,
        on_dialogue: Callable[[Dialogue], None] = lambda dialogue: None,
        reviews: Labels | None = None,
    ) -> None:
        """`total` counts all posts, also the `before` whose dialogues were finished and are not among `posts` any more;
        without it, `posts` is all there is. With `reviews`, no dialogue is accepted before a person has said so there.
        """
        self.cast = cast
        self.caller = caller
        self.journal = journal
        if total is None:
            finished = journal.finished()
            known = tuple(posts)
            posts = [post for post in known if dialogue_id(cast.rules.seed, post.id, 0) not in finished]
            total, before = len(known), len(known) - len(posts)
        self.open_dialogues = open_dialogues
        self.on_dialogue = on_dialogue
        self.fatal: PsyllmError | None = None
        self._failed_in_a_row = 0
        self._reviews = reviews
        self._in_review: dict[str, tuple[Post, int]] = {}
        """Dialogue id -> its post, and how many decisions it has taken in."""
        self._checkpoints = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=_KEPT)) if reviews else None
        self._graph = build_graph(cast, self._checkpoints)
        self._waiting = posts
        self._to_begin = total - before
        self.tally = Tally(total=total, before=before)

    def stop(self, failure: PsyllmError | None = None) -> None:
        """Start no more calls; `failure`, if any, is raised by `run` once those in flight have ended."""
        self.fatal = self.fatal or failure
        self.caller.stopping.set()

    async def run(self) -> None:
        """Grow until done or stopped. Raises what was fatal: a Failure, or a UsageError from a prompt."""
        waiting = iter(self._waiting)
        async with asyncio.TaskGroup() as group:
            workers = [
                group.create_task(self._work(waiting))
                for _ in range(min(self.open_dialogues, self.tally.total - self.tally.before))
            ]
            if self._reviews is not None:
                group.create_task(self._hear_reviewers(workers))
        if self.fatal is not None:
            raise self.fatal

    async def _work(self, waiting: Iterator[Post]) -> None:
        while not self.caller.stopping.is_set():
            try:
                post = next(waiting, None)
            except PsyllmError as error:
                self.stop(error)
                return
            self._to_begin -= 1
            if post is None or self._to_begin <= 0:
                self.caller.drain()
            if post is None:
                return
            decisions = await self._decisions()
            if self.caller.stopping.is_set():
                return
            name = dialogue_id(self.cast.rules.seed, post.id, 0)
            if not await self._grow(post, decisions.get(name, [])):
                return

    async def _decisions(self) -> dict[str, list[Label]]:
        """What people have decided so far; where that cannot be read, the run is stopped."""
        try:
            return await asyncio.to_thread(self._reviews.decisions) if self._reviews else {}
        except UsageError as error:
            self.stop(error)
            return {}

    async def _grow(self, post: Post, decided: Sequence[Label]) -> bool:
        """Grow and keep one dialogue; False if the run is being stopped."""
        self.tally.open += 1
        dialogue = await self._one(post, decided)
        self.tally.open -= 1
        if dialogue is None:
            return False
        self.journal.finish(dialogue)
        codes = [reason.code for reason in dialogue.reasons]
        log.info("dialogue ended", dialogue=dialogue.id, status=dialogue.status, reasons=codes)
        self.caller.forget(dialogue.id)
        self._watch(dialogue)
        if self._in_review.pop(dialogue.id, None):
            self.tally.by_status[Status.IN_REVIEW] -= 1
        if dialogue.status is Status.IN_REVIEW:
            self._in_review[dialogue.id] = (post, len(decided))
        self.tally.by_status[dialogue.status] += 1
        self.tally.by_reason.update({reason.code for reason in dialogue.reasons})
        self.on_dialogue(dialogue)
        return True

    async def _hear_reviewers(self, workers: Sequence[asyncio.Task[None]]) -> None:
        """Go on with dialogues that a person has decided on, until none is left or the run is being stopped."""
        while self._in_review or not all(worker.done() for worker in workers):
            decisions = await self._decisions()
            for name, (post, known) in list(self._in_review.items()):
                decided = decisions.get(name, [])
                if len(decided) > known and not await self._grow(post, decided):
                    return
            with suppress(TimeoutError):
                await asyncio.wait_for(self.caller.stopping.wait(), REVIEW_POLL_S)
                return

    async def _one(self, post: Post, decided: Sequence[Label]) -> Dialogue | None:
        """A dialogue that is over or in review, or None if the run is being stopped."""
        state: DialogueState = {"post": post, "repeat": 0}
        if reason := self._screened(post):
            await asyncio.sleep(0)
            return finish(self.cast, state, Status.SCREENED_OUT, (reason,))
        return await self.walk(state, decided)

    async def walk(self, state: DialogueState, decided: Sequence[Label] = ()) -> Dialogue | None:
        """One dialogue from this state to its end; None if the run is being stopped, or something was fatal.

        Each time it waits for a person, it takes the next of `decided`; without one it ends in review.
        """
        name = id_of(self.cast, state)
        config: RunnableConfig = {"recursion_limit": STEP_LIMIT, "configurable": {"thread_id": name}}
        with structlog.contextvars.bound_contextvars(dialogue=name):
            try:
                for said in (None, *decided):
                    entry: Any = state if said is None else Command(resume=said.model_dump(mode="json"))
                    async for values in self._graph.astream(entry, config, stream_mode="values"):
                        waiting = values.pop("__interrupt__", None) is not None
                        state = typing.cast(DialogueState, values) if values else state
                    if not waiting:
                        return state["dialogue"]
                return finish(self.cast, state, Status.IN_REVIEW, ())
            except Failure as failure:
                if failure.boundary == "stopped":
                    return None
                if failure.fatal:
                    self.stop(failure)
                    return None
                log.warning("dialogue failed", boundary=failure.boundary, error=str(failure))
                return self._failed(state, failure)
            except UsageError as error:
                self.stop(error)
                return None
            except Exception as error:
                log.exception("dialogue broke")
                detail = f"{type(error).__name__}: {error}"[:300]
                reason = Reason(code="internal_error", role="run", round=round_under_way(state), detail=detail)
                return finish(self.cast, state, Status.FAILED, (reason,))
            finally:
                if self._checkpoints is not None:
                    self._checkpoints.delete_thread(name)

    def _screened(self, post: Post) -> Reason | None:
        """Why this post gets no dialogue, if so."""
        rules = self.cast.rules
        if rules.client_words == "real" and (said := len(real_words(post))) < rules.min_rounds:
            detail = f"{said} client messages, at least {rules.min_rounds} needed"
            return Reason(code="source_too_short", role="run", detail=detail)
        return None if rules.keep_all else post.screened or screen(post)

    def _watch(self, dialogue: Dialogue) -> None:
        """An endpoint that fails every dialogue alike will fail the rest: stop after some in a row."""
        self._failed_in_a_row = self._failed_in_a_row + 1 if dialogue.status is Status.FAILED else 0
        if self._failed_in_a_row >= FAILED_IN_A_ROW:
            detail = dialogue.reasons[0].detail
            hint = (
                "`psyllm doctor` tries each model; the same command goes on, with --retry-failed from those that failed"
            )
            self.stop(Failure("endpoint", f"{FAILED_IN_A_ROW} dialogues in a row failed, last: {detail}", hint=hint))

    def _failed(self, state: DialogueState, failure: Failure) -> Dialogue:
        """Answers that never fit, and calls too long to make, are final; an endpoint's failure is tried again."""
        final = {"schema": "schema_failed", "budget": "budget_exceeded"}.get(failure.boundary)
        code = final or "endpoint_failed"
        reason = Reason(code=code, role="run", round=round_under_way(state), detail=str(failure)[:300])
        return finish(self.cast, state, Status.REJECTED if final else Status.FAILED, (reason,))
