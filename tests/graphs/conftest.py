"""A dialogue by script: what every role answers in a two-round conversation that is accepted, and the run around it.

endpoint = scripted(SCRIPT | {"reply": [reply("Again?", "..."), *SCRIPT["reply"]]})
(dialogue,) = await grow(tmp_path / "run", served(endpoint.base_url))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agents.cast import Cast
from agents.critic import Scores
from graphs.grow import Grower
from graphs.table import fingerprint, seated
from prompts.library import Library
from psyllm import __version__
from psyllm.calls import Caller
from psyllm.journal import Journal
from psyllm.records import Dialogue, Post
from psyllm.settings import ModelSettings, Profile, Rules, Settings

Json = dict[str, Any]

POST = Post(
    id="p1",
    title="awake again",
    text="Since the spring I lie awake most nights, and by day I am no use to anybody at the bakery.",
    source="tests",
    license="CC0-1.0",
)
RULES = Rules(modalities=("cbt", "act", "mi"))

PLAN: Json = {
    "suitable": True,
    "unsuitable_because": "",
    "emotion": {"primary": "worn down", "secondary": ["ashamed"], "intensity": 5},
    "presenting_problem": "Nights without sleep, and a job that shows it.",
    "scene": {"category": "work_stress", "detail": "The kitchen of a school, early."},
    "severity": "mild",
    "rounds": ["the ceiling at four", "the tray of eggs on Monday"],
    "against_first": "Something in these eggs speaks against it.",
    "chosen": "cbt",
    "reasons": ["One thought at four in the morning decides the day."],
    "rejected": [
        {"id": "act", "why": "The eggs ask for something more solid first."},
        {"id": "mi", "why": "Nothing here is torn between staying and leaving."},
    ],
    "profile": {
        "history": "I cook for two hundred children. My son moved out, and the flat has been loud with nothing since.",
        "memories": ["The tray of eggs going over on Monday, and Ines saying 'leave it'.", "His key on the hook."],
        "core_beliefs": ["If I stop, it all stops."],
        "automatic_thoughts": ["There it goes."],
        "coping": ["I iron at night."],
        "disclosure": "Sideways, as a joke.",
        "resistance": "Goes quiet when praised.",
        "builds_trust": "Somebody who asks about the kitchen.",
        "safety": "I don't think about dying.",
        "withheld": [{"from_round": 2, "what": "The doctor's letter lies unopened behind the bread bin."}],
    },
}
FIRST = "I have been staring at the ceiling until four."
SECOND = "Then I dropped a whole tray of eggs, and Ines just said leave it."


def client(*sentences: str, ends: bool = False) -> Json:
    return {"sentences": list(sentences), "ends": ends}


def diagnosis(**proposed: list[Any]) -> Json:
    return {"evidence": [], "facts": [], "risks": [], "questions": []} | proposed


def evidence_check(*holds: bool, lowered: Sequence[Json] = (), why: str = "") -> Json:
    """A verdict an item, in order."""
    verdicts = [{"item": n, "why": why, "holds": held} for n, held in enumerate(holds, 1)]
    return {"verdicts": verdicts, "lowered": list(lowered)}


def reply(text: str, *more: str, technique: str = "guided_discovery") -> Json:
    """`more` goes into the reasoning."""
    thought = "Nothing is supported in either system so far; it could be a bad month."
    return {"reasoning": " ".join((thought, *more)), "technique": technique, "text": text}


def client_critique(decision: str = "accept", *codes: str, guidance: str = "") -> Json:
    return {"reasons": [{"code": c, "quote": "the words"} for c in codes], "decision": decision, "guidance": guidance}


def reply_critique(decision: str = "accept", *codes: str, guidance: str = "", score: int = 5) -> Json:
    marks = dict.fromkeys(Scores.model_fields, score)
    return client_critique(decision, *codes, guidance=guidance) | {"scores": marks, "markers": ["F0a"], "anti": []}


SCRIPT: Json = {
    "plan": PLAN,
    "patient_turn": [client(FIRST), client(SECOND)] * 2,
    "client_critique": client_critique(),
    "diagnosis": diagnosis(),
    "evidence_check": evidence_check(),
    "reply": [
        reply("Four o'clock, and the ceiling. What goes through your head up there?"),
        reply("Leave it, she said, and the eggs on the floor. Which part stayed with you on the way home?"),
    ]
    * 2,
    "reply_critique": reply_critique(),
}
"""Twice over, so that two posts can be grown one after the other."""


def served(base_url: str, **changes: Any) -> ModelSettings:
    return ModelSettings.model_validate({"base_url": base_url, "model": "m-1", "tries": 1, "sampling": {}} | changes)


@asynccontextmanager
async def table(
    folder: Path, model: ModelSettings, rules: Rules = RULES, library: Library | None = None
) -> AsyncIterator[tuple[Cast, Caller, Journal]]:
    """A cast with one model behind every role, and the journal of a run folder."""
    settings = Settings(profile="scripted", models={"m": model}, profiles={"scripted": Profile(default="m")})
    library = library or Library()
    journal = Journal.open(folder, fingerprint(settings, None, rules, library), __version__)
    try:
        async with seated(settings, None, rules, library, journal) as (cast, caller):
            yield cast, caller, journal
    finally:
        journal.close()


async def grow(
    folder: Path,
    model: ModelSettings,
    rules: Rules = RULES,
    posts: Sequence[Post] = (POST,),
    open_dialogues: int = 1,
    total: int | None = None,
) -> list[Dialogue]:
    """The dialogues that this start of the run finished, in the order in which they ended.

    With `total`, all posts are grown, whether or not their dialogues are over.
    """
    grown: list[Dialogue] = []
    async with table(folder, model, rules) as (cast, caller, journal):
        grower = Grower(
            cast, caller, journal, posts, open_dialogues=open_dialogues, total=total, on_dialogue=grown.append
        )
        await grower.run()
    return grown
