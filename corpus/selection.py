"""Which accepted dialogues are exported, and why others are not: filters, then limits over the whole corpus.

Filters look at one dialogue. The limits (near duplicates, stock openings, wanted shares) look at all of them, in the
order of a hash of seed and post id, so that what is left out depends on neither time nor the order of posts. Each
dialogue left out is an `Exclusion` with a code of psyllm/reason_codes.yaml.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from corpus.candidates import Candidate, Selection
from corpus.held_out import HeldOut
from corpus.metrics import opening
from corpus.rows import mode_of, risk_level
from psyllm.labels import Judgement, Label
from psyllm.records import Dialogue, Post

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
    dialogue: Dialogue, filters: Filters, label: Label | None, held_out: HeldOut, post: Post
) -> tuple[str, str] | None:
    """(reason code, detail) of the first filter that keeps the dialogue out; None if it passes all.

    A dialogue that a person rejected passes only if `--label reject` asks for it;
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
    if found := held_out.finds(post, (turn.client_text for turn in dialogue.turns)):
        return "held_out", found
    return None


def _lowest_score(dialogue: Dialogue) -> int:
    scores = [s for turn in dialogue.turns if turn.critique for s in turn.critique.scores.values()]
    return min(scores, default=0)


def drop_near_duplicates(selection: Selection) -> None:
    """Keep the first dialogue of each group of near duplicates."""
    later = selection.rows(
        "SELECT n, lead FROM (SELECT n, id, place, first_value(id) OVER turn AS lead, row_number() OVER turn AS nth"
        " FROM candidates WINDOW turn AS (PARTITION BY text_group ORDER BY place, id)) WHERE nth > 1 ORDER BY place, id"
    )
    selection.drop("duplicate_case", ((n, f"near duplicate of {lead}") for n, lead in later))


def drop_stock_openings(selection: Selection, share: float = OPENING_SHARE) -> None:
    """Drop dialogues until no opening takes more than its share of the replies, the last in order first."""
    dropped = 1
    while dropped:
        ((replies,),) = selection.rows("SELECT total(json_array_length(openings)) FROM candidates")
        dropped = selection.drop("stock_opening", _stock(selection, most=max(FEW, int(share * replies))))


def _stock(selection: Selection, most: int) -> Iterator[tuple[int, str]]:
    """(number, why) of the dialogues in which an opening comes up that has been used often enough before them."""
    counted = "SELECT value FROM candidates, json_each(openings) GROUP BY value HAVING count(*) > ?"
    common = {words for (words,) in selection.rows(counted, most)}
    used: Counter[str] = Counter()
    for n, openings in selection.rows("SELECT n, openings FROM candidates WHERE ? ORDER BY place, id", bool(common)):
        new = Counter(words for words in json.loads(openings) if words in common)
        full = next((words for words in new if used[words] + new[words] > most), None)
        if full is None:
            used.update(new)
        else:
            yield n, f"{full} ... opens {most} replies before it"


def balance(selection: Selection, shares: Mapping[str, float]) -> None:
    """Keep the largest part of the dialogues whose modalities have the wanted shares (they are scaled to sum to 1).

    A modality that `shares` does not name is left out; one that is named and missing makes no shares, so it is ignored.
    Dialogues in danger stay first: they are few, and what they teach is missed most.
    """
    have = dict(selection.rows("SELECT modality, count(*) FROM candidates GROUP BY modality"))
    wanted = {name: share for name, share in shares.items() if share > 0 and have.get(name)}
    scale = min((have[name] / share for name, share in wanted.items()), default=0.0)
    room = Counter({name: round(share * scale) for name, share in wanted.items()})

    def over() -> Iterator[tuple[int, str]]:
        for n, modality in selection.rows("SELECT n, modality FROM candidates ORDER BY mode = 'ordinary', place, id"):
            if room[modality] > 0:
                room[modality] -= 1
            else:
                yield n, modality

    selection.drop("over_share", over())
