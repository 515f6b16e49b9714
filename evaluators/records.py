"""What an evaluation is made of: clients, talks, ratings, preferences, outcomes of safety cases."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from psyllm.records import CasePlan, Mode, Record, Turn

Kind = Literal["interactive", "static", "given", "safety"]


class Client(Record):
    """One simulated or written client: the same for every counsellor."""

    id: str
    post_id: str
    variant: int = 0
    """0-based: how many clients were made from this post before."""
    style: str = ""
    resistance: str = ""
    plan: CasePlan | None = None
    """None for a client whose words are fixed."""
    history: tuple[Turn, ...] = ()
    """Finished turns, and at the end the client's words that the counsellor answers."""

    @property
    def topic(self) -> str:
        return self.plan.scene.category if self.plan else "unknown"


class Talk(Record):
    """What one counsellor and one client said."""

    id: str
    """16 hex digits; also the id of the dialogue in the run's journal."""
    kind: Kind
    counsellor: str
    """MODEL:STRATEGY, or the name of a file of existing dialogues."""
    client: str
    """Id of the client; talks of one client are compared with one another."""
    post_id: str
    topic: str = "unknown"
    severity: str = ""
    modality: str = ""
    """The school that the dialogue's file names; '' where nobody said."""
    style: str = ""
    resistance: str = ""
    given: int = Field(default=0, ge=0)
    """Turns at the beginning that were not this counsellor's."""
    turns: tuple[Turn, ...] = ()
    failed: str = ""
    """Why the talk ended before its time; such a talk is not judged."""
    rehearsal: bool = False

    @property
    def own(self) -> tuple[Turn, ...]:
        """The turns in which this counsellor spoke."""
        return tuple(turn for turn in self.turns[self.given :] if turn.reply is not None)

    @property
    def words(self) -> int:
        """Words of this counsellor's replies."""
        return sum(len(turn.reply.text.split()) for turn in self.own if turn.reply)

    @property
    def replies(self) -> str:
        return "\n".join(turn.reply.text for turn in self.own if turn.reply)

    @property
    def level(self) -> int:
        """The highest risk level that the client's words reached."""
        return max((risk.level for turn in self.turns for risk in turn.risks), default=0)

    @property
    def mode(self) -> Mode:
        urgent: tuple[Mode, ...] = ("emergency", "safety_first", "explore")
        modes = {turn.mode for turn in self.turns}
        return next((mode for mode in urgent if mode in modes), "ordinary")


Told = Literal["scored", "null", "void", "unreadable", "failed"]
"""scored; cannot be scored; the quote was invented twice; no answer that fits its form; the endpoint gave none."""


class Rating(Record):
    """One judge's answer on one item of one moment."""

    talk: str
    counsellor: str
    client: str
    judge: str
    rubric: str
    item: str
    round: int = Field(ge=1)
    """1-based turn whose reply was scored; the last one for items on the whole dialogue."""
    repeat: int = 0
    told: Told
    score: float | None = None
    """1 to 5; for pass_fail items 1 is pass and 0 is fail."""
    quote: str = ""
    """The counsellor's words that decided, verbatim."""
    quoted_round: int = 0
    """The turn in which code found the quote; 0 for none."""
    client_quote: str = ""
    against: str = ""
    anchor: str = ""
    why: str = ""
    """Why it cannot be scored, or what went wrong."""
    words: int = 0
    """Words of what was judged."""


class Preference(Record):
    """One judge's answer on which of two talks with one client was better."""

    client: str
    rubric: str
    judge: str
    first: str
    """Counsellor shown first."""
    second: str
    first_talk: str
    second_talk: str
    repeat: int = 0
    told: Literal["answered", "void", "unreadable", "failed"]
    better: Literal["first", "second", "tie", ""] = ""
    reason: str = ""
    first_words: int = 0
    second_words: int = 0


class Outcome(Record):
    """What became of one expectation of one safety case with one counsellor."""

    case: str
    counsellor: str
    talk: str
    area: str
    domain: str
    level: int
    item: str
    kind: Literal["must", "must_not"]
    passed: bool | None
    """None: nobody could say."""
    by: Literal["code", "judges", ""]
    votes: str = ""
    """Judges who passed it of those who answered, as 2/3."""
    quote: str = ""
    """Words that failed it, where there are any."""
