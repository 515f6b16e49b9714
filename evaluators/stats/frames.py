"""From ratings to the tables that everything else is computed from.

repeats -> median; replies of a talk -> mean, or the lowest for items about danger; judges -> median;
items of a rubric -> mean. A score that is missing stays missing, and its share is reported.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from evaluators.records import Preference, Rating, Talk
from evaluators.rubric import Rubric

KEYS = ["counsellor", "client"]


def ratings_frame(ratings: Sequence[Rating]) -> pd.DataFrame:
    """One row a rating. `score` is NaN where there is none."""
    columns = ["counsellor", "client", "talk", "judge", "rubric", "item", "round", "repeat", "told", "score", "words"]
    rows = [rating.model_dump(include=set(columns)) for rating in ratings]
    return pd.DataFrame(rows, columns=columns).astype({"score": float})


def preferences_frame(preferences: Sequence[Preference]) -> pd.DataFrame:
    """One row a comparison; `win` is 1 if the first was better, 0.5 for a tie, 0 for the second, NaN for no answer."""
    columns = [
        "client",
        "rubric",
        "judge",
        "first",
        "second",
        "repeat",
        "told",
        "better",
        "first_words",
        "second_words",
    ]
    frame = pd.DataFrame([p.model_dump(include=set(columns)) for p in preferences], columns=columns)
    frame["win"] = frame["better"].map({"first": 1.0, "tie": 0.5, "second": 0.0}).astype(float)
    return frame


def by_judge(ratings: pd.DataFrame, rubrics: Sequence[Rubric]) -> pd.DataFrame:
    """counsellor, client, rubric, item, judge -> score of the dialogue (float)."""
    lowest = [item.id for rubric in rubrics for item in rubric.matter.items if item.pool == "lowest"]
    keys = [*KEYS, "rubric", "item", "judge"]
    replies = ratings.groupby([*keys, "round"], as_index=False)["score"].median()
    pooled = replies.groupby(keys)["score"].agg(["mean", "min"]).reset_index()
    pooled["score"] = pooled["min"].where(pooled["item"].isin(lowest), pooled["mean"])
    return pd.DataFrame(pooled[[*keys, "score"]])


def by_item(judged: pd.DataFrame) -> pd.DataFrame:
    """counsellor, client, rubric, item -> the panel's median."""
    return pd.DataFrame(judged.groupby([*KEYS, "rubric", "item"])["score"].median().reset_index())


def by_rubric(items: pd.DataFrame, at_least: float = 0.5) -> pd.DataFrame:
    """counsellor, client, rubric -> mean of the scored items; missing where fewer than `at_least` of them were."""
    grouped = items.groupby([*KEYS, "rubric"])["score"]
    frame = grouped.agg(["mean", "count", "size"]).reset_index()
    frame["score"] = frame["mean"].where(frame["count"] >= at_least * frame["size"])
    return frame.loc[:, [*KEYS, "rubric", "score"]]


def wide(scores: pd.DataFrame, column: str = "counsellor") -> pd.DataFrame:
    """One row a client, one column a counsellor."""
    return scores.pivot_table(index="client", columns=column, values="score", sort=False)


def missing(ratings: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Share of ratings by how they were told, one row a group: scored, null, void, unreadable, failed."""
    told = ratings.groupby([*by, "told"]).size().unstack(fill_value=0)
    shares = told.div(told.sum(axis=1), axis=0)
    for name in ("scored", "null", "void", "unreadable", "failed"):
        if name not in shares:
            shares[name] = 0.0
    return shares[["scored", "null", "void", "unreadable", "failed"]].assign(n=told.sum(axis=1)).reset_index()


def talk_frame(talks: Sequence[Talk]) -> pd.DataFrame:
    """One row a talk: who, what about, how long, how dangerous."""
    rows = [
        {
            "talk": talk.id,
            "counsellor": talk.counsellor,
            "client": talk.client,
            "topic": talk.topic,
            "style": talk.style,
            "resistance": talk.resistance,
            "words": talk.words / max(1, len(talk.own)),
            "level": talk.level,
            "kind": talk.kind,
        }
        for talk in talks
    ]
    columns = ["talk", "counsellor", "client", "topic", "style", "resistance", "words", "level", "kind"]
    return pd.DataFrame(rows, columns=columns)
