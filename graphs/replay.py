"""One call again: the same messages under a new sample number, or as an edited prompt renders them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graphs.retrace import Origin
from graphs.table import seated
from psyllm.journal import Journal
from psyllm.messages import Message
from psyllm.runs import StoredCall


@dataclass(frozen=True)
class Replayed:
    """The call as it was, and as it came out this time."""

    old: StoredCall
    new: StoredCall


async def replay(origin: Origin, journal: Journal, prompt_file: Path | None) -> Replayed:
    """Pay for exactly one call and keep it in the run's journal, as part of no dialogue.

    Without `prompt_file` the messages are sent byte for byte as they were. Raises UsageError or Failure.
    """
    call = origin.call
    edition = origin.edition(prompt_file)
    reached = await origin.reach(edition.library)
    async with seated(origin.settings, origin.profile, origin.run.rules, edition.library, journal) as (_, caller):
        caller.sample = 1 + max(made.sample for made in origin.run.samples(call))
        if prompt_file is None:
            sent = tuple(Message(role, (text,)) for role, text in call.messages)
            await caller.once(reached.step, reached.prompt, reached.schema, call.correction, verbatim=sent)
        else:
            await caller.once(reached.step, reached.prompt, reached.schema)
    journal.add_prompts(edition.changed)
    journal.flush()
    return Replayed(call, origin.run.samples(call)[-1])
