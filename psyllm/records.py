"""What a run is made of: posts, plans, turns, verdicts, critiques, dialogues.

Every record is frozen and refuses unknown fields; `SCHEMA_VERSION` names their shape and is stored with
each run and each dialogue. Nothing here knows about models, prompts or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue

SCHEMA_VERSION = 3

Role = Literal["planner", "patient", "diagnostician", "therapist", "critic"]
ROLES: tuple[Role, ...] = ("planner", "patient", "diagnostician", "therapist", "critic")

System = Literal["dsm5tr", "icd11"]
Verdict = Literal["met", "provisional", "insufficient", "contradicted"]
Severity = Literal["minimal", "mild", "moderate", "severe"]
Mode = Literal["ordinary", "explore", "safety_first", "emergency"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""From the least to the most urgent."""
SAFETY_MODES: tuple[Mode, ...] = ("safety_first", "emergency")
"""Those in which the safety protocol takes the turn."""
Polarity = Literal["asserts", "denies"]

SAFETY_PROTOCOL = "safety_protocol"
"""The reserved technique id; the only one allowed in SAFETY_MODES."""

CRISIS_CONTACTS = "{crisis_contacts}"
"""The placeholder a model writes instead of a service or number; filled by code when shown."""


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(Record):
    """One entry of the reason-code list, with the place it points at."""

    code: str
    role: Literal["planner", "patient", "diagnostician", "therapist", "dialogue", "run"]
    """The role to blame."""
    round: int = Field(default=0, ge=0)
    """1-based round; 0 for the plan or the whole dialogue."""
    detail: str = ""
    """The offending words, or what was expected."""


class Post(Record):
    """One help-seeking post, already scrubbed."""

    id: str = Field(min_length=1, max_length=200)
    """Unique within a run."""
    text: str = Field(min_length=1)
    title: str = ""
    utterances: tuple[str, ...] = ()
    """The client's words message by message, where the source is a conversation; `text` holds them all."""
    source: str = "unknown"
    """Where the post was taken from, as its file says."""
    license: str = "unknown"
    """Licence of the post as its file says; never guessed."""
    retrieved: str = "unknown"
    """When it was taken from there, as its file says: YYYY-MM-DD."""
    screened: Reason | None = None
    """Why no dialogue should be grown from it, where intake says so."""
    metadata: dict[str, JsonValue] = {}
    """Further fields of the source row, kept and never shown to a model; under `intake`, what intake did."""

    @property
    def words(self) -> str:
        """Title and text as one text."""
        return f"{self.title}\n{self.text}".strip()


# ---------------------------------------------------------------- plan


class Emotion(Record):
    primary: str
    secondary: tuple[str, ...] = ()
    intensity: int = Field(ge=0, le=10)
    """0 (none) to 10 (overwhelming)."""


class Scene(Record):
    category: str
    """A short snake_case name, e.g. work_stress."""
    detail: str


class RoundPlan(Record):
    focus: str
    """What is on the client's mind in this round. Only the patient reads it."""


class RejectedModality(Record):
    id: str
    why: str


class ModalityChoice(Record):
    chosen: str
    drawn: str = ""
    """The first candidate, which the planner takes unless it says what speaks against it."""
    reasons: tuple[str, ...]
    rejected: tuple[RejectedModality, ...] = ()


class Withheld(Record):
    from_round: int = Field(ge=1)
    """First round (1-based) in which it may be said, and only once trust allows it."""
    what: str


class ClientProfile(Record):
    """The hidden client. Seen by the patient and by the critique of the patient, by nobody else."""

    history: str
    memories: tuple[str, ...]
    """Concrete memories: an object, a time, a sentence somebody said."""
    core_beliefs: tuple[str, ...]
    automatic_thoughts: tuple[str, ...]
    coping: tuple[str, ...]
    disclosure: str
    """How this person gives things away."""
    resistance: str
    builds_trust: str
    safety: str
    """What is true about danger to self, in plain words."""
    withheld: tuple[Withheld, ...] = ()


class CasePlan(Record):
    emotion: Emotion
    presenting_problem: str
    scene: Scene
    severity: Severity
    rounds: tuple[RoundPlan, ...] = Field(min_length=1, max_length=8)
    modality: ModalityChoice
    profile: ClientProfile


# ---------------------------------------------------------------- one turn


class Sentence(Record):
    n: int = Field(ge=1)
    """Number over the whole dialogue, 1-based. Only the client's sentences are numbered."""
    text: str


class Evidence(Record):
    """A claim that a numbered client sentence asserts or denies one criterion."""

    disorder: str
    criterion: str
    sentence: int = Field(ge=1)
    polarity: Polarity = "asserts"


class Fact(Record):
    """A named fact of the criteria reference, grounded in a sentence."""

    name: str
    value: bool | float
    sentence: int = Field(ge=1)
    disorders: tuple[str, ...] = ()
    """Disorders it was said about; empty means every disorder that asks for it."""
    approx: bool = False
    """Whether the sentence says about so much: it then reaches no threshold that it passes by less than a tenth."""


class Dropped(Record):
    """A proposal that a gate refused."""

    claim: Evidence | Fact
    gate: str
    why: str


class Finding(Record):
    """The engine's verdict on one disorder in one system, from all accepted evidence so far."""

    disorder: str
    name: str
    system: System
    verdict: Verdict
    codes: tuple[str, ...] = ()
    """Codes of the entity in this system's own table (ICD-10-CM for DSM-5-TR, ICD-11 MMS)."""
    held: tuple[str, ...] = ()
    """Criterion ids asserted by accepted evidence."""
    denied: tuple[str, ...] = ()
    why: str
    questions: tuple[str, ...] = ()
    """What would settle the verdict."""


Misjudged = Literal["dark_joke", "unwanted_thought", "misread"]
"""Why a sentence carries no danger: prompts/roles/critic.md says what each means."""


class Cleared(Record):
    """A sentence that the second reader took out of a risk, with the client's own words that show why."""

    sentence: int = Field(ge=1)
    kind: Misjudged
    quote: str
    """Verbatim words of the client."""
    level: int = Field(ge=1, le=6)
    """What the risk's level was with it."""


class Refused(Record):
    """A sentence that the second reader wanted to take out of a risk, and code did not let it."""

    sentence: int
    """As named; it may not exist."""
    kind: Misjudged
    quote: str
    """As given; it may be nobody's words."""
    why: str


class Risk(Record):
    """The level of one risk domain, graded before and apart from diagnosis."""

    domain: str
    level: int = Field(ge=0, le=6)
    """0 is none stated; the top of each domain's ladder stands in clinical/risk.yaml."""
    sentences: tuple[int, ...] = ()
    """The client sentences that ground the level."""
    mode: Mode = "ordinary"
    """What this level asks of the reply; at least `explore` in a turn that cleared a graver one."""
    cleared: tuple[Cleared, ...] = ()
    """Sentences of this turn that count for this domain no longer, from here on."""
    refused: tuple[Refused, ...] = ()
    """What should have been cleared in this turn, and counts all the same."""


class Reply(Record):
    """What the therapist thinks, does and says in one turn."""

    reasoning: str
    technique: str
    text: str
    trace: Literal["written", "native"] = "written"
    """Whether the reasoning was a written field or the reasoning channel of a reasoning model."""


class Decision(StrEnum):
    ACCEPT = "accept"
    REVISE = "revise"
    REJECT = "reject"


class Critique(Record):
    target: Literal["patient", "therapist"]
    by: Literal["code", "model", "person"]
    decision: Decision
    scores: dict[str, Annotated[int, Field(ge=1, le=5)]] = {}
    """1 (absent or harmful) to 5 (could be shown to a supervisor)."""
    markers: tuple[str, ...] = ()
    """Fidelity marker ids that the reply shows."""
    anti: tuple[str, ...] = ()
    """Anti-marker ids that the reply shows."""
    reasons: tuple[Reason, ...] = ()
    guidance: str = ""
    """What to change, addressed to the criticised role only."""


class PatientDraft(Record):
    """A client turn that was sent back, with why."""

    sentences: tuple[str, ...]
    critique: Critique


class ReplyDraft(Record):
    """A therapist turn that was sent back, with why: the rejected half of a preference pair."""

    reply: Reply
    critique: Critique


class Turn(Record):
    """One round: the client's words, what they support, and the counsellor's answer."""

    round: int = Field(ge=1)
    client: tuple[Sentence, ...]
    client_critique: Critique | None = None
    client_drafts: tuple[PatientDraft, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    """Accepted in this turn."""
    facts: tuple[Fact, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    questions: tuple[str, ...] = ()
    """What the diagnostician would still ask."""
    findings: tuple[Finding, ...] = ()
    """The engine's verdicts after this turn."""
    risks: tuple[Risk, ...] = ()
    mode: Mode = "ordinary"
    """The most urgent mode over all risk domains."""
    reply: Reply | None = None
    critique: Critique | None = None
    drafts: tuple[ReplyDraft, ...] = ()

    @property
    def client_text(self) -> str:
        return " ".join(sentence.text for sentence in self.client)


# ---------------------------------------------------------------- dialogue


class Status(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SCREENED_OUT = "screened_out"
    FAILED = "failed"
    """The machinery failed, not the dialogue: the same command tries it again."""
    IN_REVIEW = "in_review"
    """Would be accepted, and waits for a person: only under `grow --review`."""
    EVALUATED = "evaluated"
    """A talk of an evaluation: kept to be read, never part of a corpus."""

    @property
    def rare(self) -> bool:
        """Whether counts name it only where there is one."""
        return self in (Status.IN_REVIEW, Status.EVALUATED)


class PromptRef(Record):
    id: str
    version: str
    sha256: str
    """First 12 hex digits of the file's hash."""


class Provenance(Record):
    models: dict[str, str]
    """Role -> model as the endpoint knows it."""
    prompts: tuple[PromptRef, ...] = ()
    """Prompts that this dialogue was made with."""
    seed: int
    software_version: str
    source: str
    license: str
    rehearsal: bool = False
    """True if any role was played by the rehearsal backend: stand-in words, never training data."""


class Dialogue(Record):
    schema_version: int = SCHEMA_VERSION
    id: str
    post_id: str
    repeat: int = 0
    """0-based repetition of the same post."""
    status: Status
    reasons: tuple[Reason, ...] = ()
    plan: CasePlan | None = None
    turns: tuple[Turn, ...] = ()
    ended_by: Literal["plan", "patient", "source", "none"] = "none"
    """Whether the planned rounds ran out, the client ended it, the words of a real client ran out or no longer
    answered, or it did not finish."""
    forked_from: str | None = None
    provenance: Provenance

    def replies(self) -> Iterator[Reply]:
        for turn in self.turns:
            if turn.reply is not None:
                yield turn.reply
