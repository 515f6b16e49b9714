"""Which accepted dialogues are exported, and why others are not: filters, then limits over the whole corpus.

Filters look at one dialogue. The limits (near duplicates, stock openings, wanted shares) look at all of them, in the
order of a hash of seed and post id, so that what is left out depends on neither time nor the order of posts. Each
dialogue left out is an `Exclusion` with a code of psyllm/reason_codes.yaml. Kept in memory: some hundred bytes a
dialogue, never its text.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from corpus.held_out import HeldOut
from corpus.metrics import opening
from corpus.rows import mode_of, risk_level
from psyllm.labels import Judgement, Label
from psyllm.records import Dialogue, Mode

OPENING_SHARE = 0.05
"""Largest share of all replies that may open with the same three words."""
FEW = 10
"""An opening used no more often than this is never stock, however small the corpus."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What the user asks for; empty means all."""

    modalities: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    """Models of the therapist, as their endpoint names them."""
    labels: frozenset[Judgement] = frozenset()
    min_score: int = 0
    """Lowest score (1 to 5) that the critic's model may have given any reply; 0 asks for none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the limits need to know of a dialogue that passed the filters."""

    run: int
    """Which of the given runs holds it, 0-based."""
    id: str
    post_id: str
    mode: Mode
    modality: str
    severity: str
    risk_level: int
    openings: tuple[str, ...]
    """The first three words of each reply."""
    post_group: int = 0
    """The same for all dialogues whose posts are the same or near duplicates."""
    text_group: int = 0
    """The same for all dialogues whose spoken words are near duplicates."""

    @property
    def stratum(self) -> tuple[str, str, str]:
        return self.mode, self.modality, self.severity


@dataclass(frozen=True, slots=True)
class Exclusion:
    run: int
    id: str
    post_id: str
    code: str
    detail: str = ""


@dataclass(slots=True)
class Selection:
    """Candidates in, then limits; what is left in `kept`, what is not in `excluded`."""

    seed: int
    kept: list[Candidate] = field(default_factory=list)
    excluded: list[Exclusion] = field(default_factory=list)

    def exclude(self, candidate: Candidate, code: str, detail: str) -> None:
        self.excluded.append(Exclusion(candidate.run, candidate.id, candidate.post_id, code, detail))

    def order(self) -> list[int]:
        """Positions in `kept`, in the order in which the limits are applied."""
        return sorted(range(len(self.kept)), key=lambda n: (rank(self.seed, self.kept[n].post_id), self.kept[n].id))

    def retain(self, positions: Iterable[int]) -> None:
        wanted = set(positions)
        self.kept = [candidate for n, candidate in enumerate(self.kept) if n in wanted]


def rank(seed: int, post_id: str) -> bytes:
    """Where a post stands in every order that a seed draws."""
    return hashlib.sha256(f"{seed}/{post_id}".encode()).digest()


def candidate(run: int, dialogue: Dialogue) -> Candidate:
    plan = dialogue.plan
    return Candidate(
        run=run,
        id=dialogue.id,
        post_id=dialogue.post_id,
        mode=mode_of(dialogue),
        modality=plan.modality.chosen if plan else "",
        severity=plan.severity if plan else "",
        risk_level=risk_level(dialogue.turns),
        openings=tuple(opening(reply.text) for reply in dialogue.replies()),
    )


def unwanted(
    dialogue: Dialogue, filters: Filters, label: Label | None, held_out: HeldOut, post: str
) -> tuple[str, str] | None:
    """(reason code, detail) of the first filter that keeps the dialogue out; None if it passes all.

    `post` is the text of its post. A dialogue that a person rejected passes only if `--label reject` asks for it;
    a fork, made to try something, only if a person accepted it.
    """
    verdict = label.verdict if label else None
    if verdict == "reject" and "reject" not in filters.labels:
        return "rejected_by_person", f"by {label.reviewer}" if label and label.reviewer else ""
    if filters.labels and verdict not in filters.labels:
        return "label_unwanted", verdict or "no label"
    if dialogue.forked_from and verdict != "accept":
        return "forked", f"from {dialogue.forked_from}"
    modality = dialogue.plan.modality.chosen if dialogue.plan else ""
    if filters.modalities and modality not in filters.modalities:
        return "modality_unwanted", modality
    therapist = dialogue.provenance.models.get("therapist", "")
    if filters.models and therapist not in filters.models:
        return "model_unwanted", therapist
    if filters.min_score and (score := _lowest_score(dialogue)) < filters.min_score:
        return "score_too_low", f"lowest score {score}" if score else "no score"
    texts = (post, *(turn.client_text for turn in dialogue.turns))
    if passage := held_out.finds(dialogue.post_id, texts):
        return "held_out", passage
    return None


def _lowest_score(dialogue: Dialogue) -> int:
    scores = [s for turn in dialogue.turns if turn.critique for s in turn.critique.scores.values()]
    return min(scores, default=0)


def drop_near_duplicates(selection: Selection) -> None:
    """Keep the first dialogue of each group of near duplicates."""
    first: dict[int, int] = {}
    for n in selection.order():
        candidate = selection.kept[n]
        if (lead := first.setdefault(candidate.text_group, n)) != n:
            selection.exclude(candidate, "duplicate_case", f"near duplicate of {selection.kept[lead].id}")
    selection.retain(first.values())


def drop_stock_openings(selection: Selection, share: float = OPENING_SHARE) -> None:
    """Drop dialogues until no opening takes more than its share of the replies, the last in order first."""
    while True:
        replies = sum(len(candidate.openings) for candidate in selection.kept)
        most = max(FEW, int(share * replies))
        used: Counter[str] = Counter()
        stays: list[int] = []
        for n in selection.order():
            candidate = selection.kept[n]
            new = Counter(candidate.openings)
            full = next((words for words in new if used[words] + new[words] > most), None)
            if full is None:
                used.update(new)
                stays.append(n)
            else:
                selection.exclude(candidate, "stock_opening", f"{full} ... opens {most} replies before it")
        if len(stays) == len(selection.kept):
            return
        selection.retain(stays)


def balance(selection: Selection, shares: Mapping[str, float]) -> None:
    """Keep the largest part of the dialogues whose modalities have the wanted shares (they are scaled to sum to 1).

    A modality that `shares` does not name is left out; one that is named and missing makes no shares, so it is ignored.
    Dialogues in danger stay first: they are few, and what they teach is missed most.
    """
    have = Counter(candidate.modality for candidate in selection.kept)
    wanted = {name: share for name, share in shares.items() if share > 0 and have[name]}
    scale = min((have[name] / share for name, share in wanted.items()), default=0.0)
    room = {name: round(share * scale) for name, share in wanted.items()}
    stays: list[int] = []
    for n in sorted(selection.order(), key=lambda n: selection.kept[n].mode == "ordinary"):
        candidate = selection.kept[n]
        if room.get(candidate.modality, 0) > 0:
            room[candidate.modality] -= 1
            stays.append(n)
        else:
            selection.exclude(candidate, "over_share", candidate.modality)
    selection.retain(stays)
