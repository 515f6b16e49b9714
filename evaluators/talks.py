"""Talks: a counsellor with a simulated client, turn by turn; or its answer to fixed words."""

from __future__ import annotations

import hashlib

from agents.cast import Cast
from evaluators.clients import speak
from evaluators.counsellors import Counsellor
from evaluators.records import Client, Kind, Talk
from psyllm import __version__
from psyllm.calls import Caller
from psyllm.errors import Failure
from psyllm.messages import Step
from psyllm.records import Dialogue, Provenance, Reason, Status, Turn


def talk_id(seed: int, counsellor: str, client: str) -> str:
    """16 hex digits; the same for the same seed, counsellor and client on any machine."""
    return hashlib.sha256(f"eval/{seed}/{counsellor}/{client}".encode()).hexdigest()[:16]


async def hold(
    caller: Caller, cast: Cast, kind: Kind, name: str, counsellor: Counsellor, client: Client, rounds: int
) -> Talk:
    """One talk. A failure of this talk alone is written into it; Raises Failure when the run must stop.

    `cast` plays the client; a client with fixed words gets one answer.
    """
    own = talk_id(caller.seed, name, client.id)
    history, given = client.history[:-1], len(client.history) - 1
    turns: tuple[Turn, ...] = history
    asked = client.history[-1]
    failed = ""
    try:
        while True:
            number = len(turns) + 1
            step = Step(own, client.post_id, client.variant, number, f"counsel.{name}", 0)
            answered = await counsellor.answer(step, (*turns, asked))
            turns = (*turns, answered.model_copy(update={"risks": asked.risks, "mode": asked.mode}))
            if client.plan is None or number >= rounds:
                break
            asked = await speak(cast, client, turns)
    except Failure as failure:
        if failure.fatal or failure.boundary == "stopped":
            raise
        failed = f"{failure.boundary}: {failure}"[:300]
    return Talk(
        id=own,
        kind=kind,
        counsellor=name,
        client=client.id,
        post_id=client.post_id,
        topic=client.topic,
        severity=client.plan.severity if client.plan else "",
        style=client.style,
        resistance=client.resistance,
        given=given,
        turns=turns,
        failed=failed,
        rehearsal=caller.rehearsed(own),
    )


def as_dialogue(talk: Talk, seed: int, models: dict[str, str], client: Client | None = None) -> Dialogue:
    """The talk as the journal keeps it, for `psyllm trace show`. Its status is never `accepted`: it is no corpus.

    `client` is None for a dialogue that exists already.
    """
    broken = (Reason(code="endpoint_failed", role="run", detail=talk.failed),) if talk.failed else ()
    return Dialogue(
        id=talk.id,
        post_id=talk.post_id,
        repeat=client.variant if client else 0,
        status=Status.FAILED if talk.failed else Status.EVALUATED,
        reasons=broken,
        plan=client.plan if client else None,
        turns=talk.turns,
        ended_by="none" if talk.failed else "plan",
        provenance=Provenance(
            models=models,
            seed=seed,
            software_version=__version__,
            source="evaluation",
            license="unknown",
            rehearsal=talk.rehearsal,
        ),
    )
