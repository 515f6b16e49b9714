"""A dialogue that goes another way from one step on: the calls before are its parent's, the parent is untouched."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from graphs.grow import Grower
from graphs.retrace import Edition, Origin, Retrace, before, visit
from graphs.table import seated
from psyllm.calls import Caller
from psyllm.errors import Failure
from psyllm.forms import form_of
from psyllm.journal import Journal
from psyllm.messages import Prompt, Step
from psyllm.records import Dialogue, Role
from psyllm.rows import Call
from psyllm.runs import EDITED, StoredCall
from psyllm.runs.steps import Totals, totals

Answered = TypeVar("Answered", bound=BaseModel)


@dataclass(frozen=True)
class Fork:
    """A fork that is ready to run: what changes, and what it is likely to cost."""

    origin: Origin
    id: str
    edition: Edition
    reply: BaseModel | None
    """What is said at the step instead, if a person edited it."""
    sample: int
    """The sample number of the call at the step; above 0 if it is only asked again."""

    @property
    def shared(self) -> Sequence[StoredCall]:
        """Calls that come from the parent, at no cost."""
        return before(self.origin.calls, self.origin.call)

    @property
    def estimate(self) -> Totals:
        """What the parent took from this step on; an edited reply costs nothing."""
        return totals(call for call in self._rest if self.reply is None or visit(call) != visit(self.origin.call))

    @property
    def used(self) -> Set[str]:
        """Ids of the prompts with which the parent's calls from this step on were made."""
        return {prompt.partition("@")[0] for call in self._rest for prompt in call.prompts}

    @property
    def _rest(self) -> Sequence[StoredCall]:
        return self.origin.calls[len(self.shared) :]


def prepare(origin: Origin, prompt_file: Path | None = None, reply: BaseModel | None = None) -> Fork:
    """A fork with an edited prompt, with an edited reply, or with neither: then the step is asked again.

    The same change of the same step is the same fork. Raises UsageError for a prompt file with mistakes.
    """
    edition = origin.edition(prompt_file)
    known = {ref.sha256 for ref, _ in origin.run.prompts().values()}
    changed = [ref.sha256 for ref, _ in edition.changed if ref.sha256 not in known]
    again = not changed and reply is None and not origin.recast
    sample = 1 + max(made.sample for made in origin.run.samples(origin.call)) if again else 0
    change = [changed, reply and reply.model_dump_json(), origin.recast, sample]
    what = json.dumps([origin.dialogue.id, visit(origin.call), change])
    return Fork(origin, hashlib.sha256(what.encode()).hexdigest()[:16], edition, reply, sample)


async def run_fork(fork: Fork, journal: Journal, on_call: Callable[[], None] = lambda: None) -> Dialogue:
    """Go on from the step as a new dialogue of the same run, and keep it. Raises UsageError or Failure."""
    origin = fork.origin
    async with seated(origin.settings, origin.profile, origin.run.rules, fork.edition.library, journal) as (
        cast,
        caller,
    ):
        asker = Retrace(origin.calls, origin.call, _Anew(fork, caller, journal, on_call))
        for call in fork.shared:
            journal.link(fork.id, call.position, call.key)
        caller.go_on(fork.id, len(fork.shared) + (fork.reply is not None))
        journal.add_prompts(fork.edition.changed)
        grower = Grower(replace(cast, asker=asker), caller, journal, (), open_dialogues=1)
        dialogue = await grower.walk(
            {
                "post": origin.post,
                "repeat": origin.dialogue.repeat,
                "id": fork.id,
                "forked_from": origin.dialogue.id,
            }
        )
    if dialogue is None:
        raise grower.fatal or Failure("stopped", "the fork was stopped", hint="the same command goes on")
    journal.finish(dialogue)
    journal.flush()
    return dialogue


class _Anew:
    """Answers from the fork on: the step itself in the new way, everything after by the models."""

    def __init__(self, fork: Fork, caller: Caller, journal: Journal, on_call: Callable[[], None]) -> None:
        self.fork = fork
        self.caller = caller
        self.journal = journal
        self.on_call = on_call

    async def ask(self, step: Step, prompt: Prompt, schema: type[Answered]) -> tuple[Answered, str]:
        here = step.path == visit(self.fork.origin.call)
        if here and self.fork.reply is not None:
            said = schema.model_validate(self.fork.reply.model_dump())
            self._record(step, prompt, schema, said)
            return said, self.fork.origin.call.reasoning
        self.caller.sample = self.fork.sample if here else 0
        answer = await self.caller.ask(step, prompt, schema)
        self.on_call()
        return answer

    def native(self, role: Role) -> bool:
        return self.caller.native(role)

    def rehearsed(self, dialogue_id: str) -> bool:
        return self.caller.rehearsed(dialogue_id)

    def _record(self, step: Step, prompt: Prompt, schema: type[Answered], said: Answered) -> None:
        """Write the edited reply down under a key of its own, so that growing never takes it for an answer."""
        form = form_of(schema, "json_schema")
        words = said.model_dump_json()
        call = Call(
            key=hashlib.sha256(f"{self.fork.id}/{step.path}/{words}".encode()).digest(),
            step=step,
            correction=0,
            sample=0,
            role=prompt.role,
            model_name=EDITED,
            model=EDITED,
            endpoint="",
            prompts=prompt.refs,
            schema_name=form.name,
            schema_sha256=form.sha256,
            sampling={},
            messages=prompt.messages,
            reply=words,
            reasoning=self.fork.origin.call.reasoning,
            parsed=words,
            finish_reason="stop",
            cost_usd=0.0,
            started=time.time(),
        )
        self.journal.record(call, len(self.fork.shared))
