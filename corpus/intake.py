"""One raw post on its way in: what each step decided, and what is left of the post.

    taken = take_in(raw)
    taken.post, taken.decisions

Steps that screen a post out come in the order of STEPS; those that change it see what the ones before left. Near
duplicates need all other posts, and are looked for by whoever has them (app/intake.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from corpus import screen
from corpus.posts import Raw, Reader, Recipe, used_twice
from corpus.scrub import Scrubber, scrub_id
from corpus.words import pattern
from psyllm.records import Post, Reason

Verdict = Literal["kept", "changed", "flagged", "out"]

STEPS = {
    "repair": "broken characters and markup mended",
    "deleted": "deleted, removed, or by a bot",
    "length": f"under {screen.MIN_WORDS} words, over {screen.MAX_CHARACTERS:,} characters",
    "language": "not in English",
    "suitable": "poems, adverts, nobody who speaks of themselves",
    "of age": "the writer is under 18",
    "scrub": "personal data replaced",
    "methods": "how, in posts on suicide or self-harm: masked",
    "instructions": "words that speak to a model; always quoted",
    "duplicates": "like an earlier post, --against or --held-out",
}
"""Step -> what it looks for."""
METHOD = "[METHOD]"


@dataclass(frozen=True, slots=True)
class Decision:
    step: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    post: Post
    """Scrubbed, whatever was decided. `screened` says why it was left out."""
    decisions: tuple[Decision, ...]
    """One a step, in order."""


def take_in(raw: Raw, *, keep_raw: bool = False) -> Taken:
    """Every step on one post. Nothing is left out here: `post.screened` says whether it should be."""
    post, mended = _repaired(raw.post)
    decisions = [Decision("repair", "changed" if mended else "kept")]
    found: list[Reason] = []
    checks: dict[str, Callable[[], Reason | None]] = {
        "deleted": lambda: screen.gone(post) or screen.by_bot(post, raw.author),
        "length": lambda: screen.length(post),
        "language": lambda: screen.language(post),
        "suitable": lambda: screen.suitable(post),
        "of age": lambda: screen.of_age(post),
    }
    for step, check in checks.items():
        reason = None if found else check()
        found += [reason] if reason else []
        decisions.append(Decision(step, "out", reason.detail) if reason else Decision(step, "kept"))
    clean, more = _cleaned(post, too_long=any(reason.code == "post_too_long" for reason in found))
    if keep_raw:
        kept: JsonValue = {"title": raw.post.title, "text": raw.post.text}
        clean = clean.model_copy(update={"metadata": clean.metadata | {"raw": raw.post.metadata.get("raw", kept)}})
    return Taken(clean.model_copy(update={"screened": found[0] if found else raw.post.screened}), (*decisions, *more))


def first_posts(paths: Sequence[Path], limit: int | None = None) -> tuple[Post, ...]:
    """The first posts of some sources after every step, held in memory.

    Raises UsageError as `Reader` does, and for an id used twice.
    """
    posts: dict[str, Post] = {}
    for raw in islice(Reader(Recipe().sources(paths)), limit):
        post = take_in(raw).post
        if post.id in posts:
            raise used_twice(raw)
        posts[post.id] = post
    return tuple(posts.values())


def _repaired(post: Post) -> tuple[Post, bool]:
    mended = {
        "title": mend(post.title),
        "text": mend(post.text) or post.text,
        "utterances": tuple(mend(words) or words for words in post.utterances),
    }
    repaired = post.model_copy(update=mended)
    return repaired, repaired != post


def mend(text: str) -> str:
    """Mojibake, HTML entities, invisible characters and line ends put right; typographic quotes stay."""
    from ftfy import TextFixerConfig, fix_text

    if text.isascii() and not _BROKEN.search(text):
        return text.strip()
    return _INVISIBLE.sub("", fix_text(text, TextFixerConfig(unescape_html=True, uncurl_quotes=False))).strip()


_BROKEN = re.compile(r"&[#\w]+;|[\x00-\x08\x0b-\x1f\x7f]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff]")


def _cleaned(post: Post, *, too_long: bool) -> tuple[Post, list[Decision]]:
    """Scrubbed and masked. What is far too long is cut off first: a file of 5 MB is not read to its end."""
    if too_long:
        post = post.model_copy(update={"text": post.text[: screen.MAX_CHARACTERS], "utterances": ()})
    texts = (post.title, post.text, *post.utterances)
    scrubber = Scrubber(texts)
    flags = _instructions(texts)
    scrubbed = [scrubber.scrub(text) for text in texts]
    masked = mask(scrubbed)
    count = sum(text.count(METHOD) for text in masked) - sum(text.count(METHOD) for text in scrubbed)
    title, text, *utterances = masked
    done: dict[str, JsonValue] = {}
    if scrubber.counts:
        done["scrubbed"] = dict(sorted(scrubber.counts.items()))
    if count:
        done["masked"] = count
    if flags:
        done["instructions"] = [*flags]
    metadata = {key: _scrubbed(value, scrubber) for key, value in post.metadata.items() if key not in ("raw", "intake")}
    before = post.metadata.get("intake")
    done = (before if isinstance(before, dict) else {}) | done
    words = ", ".join(f"{kind} {n}" for kind, n in sorted(scrubber.counts.items()))
    clean = post.model_copy(
        update={
            "id": scrub_id(post.id),
            "title": title,
            "text": text,
            "utterances": tuple(utterances),
            "source": scrubber.scrub(post.source),
            "metadata": metadata | ({"intake": done} if done else {}),
        }
    )
    return clean, [
        Decision("scrub", "changed" if words else "kept", words),
        Decision("methods", "changed" if count else "kept", f"{count} masked" if count else ""),
        Decision("instructions", "flagged" if flags else "kept", "; ".join(flags)),
    ]


def mask(texts: list[str]) -> list[str]:
    """The texts of one post; if one speaks of suicide or self-harm, with [METHOD] for means, doses and places."""
    if not any(pattern("self_harm").search(text) for text in texts):
        return texts
    return [pattern("methods").sub(METHOD, text) for text in texts]


def _instructions(texts: tuple[str, ...]) -> list[str]:
    """The phrases that speak to a model, at most five."""
    found = (match[0].strip() for text in texts for match in pattern("injection").finditer(text))
    return list(dict.fromkeys(found))[:5]


def _scrubbed(value: JsonValue, scrubber: Scrubber) -> JsonValue:
    if isinstance(value, str):
        return scrubber.scrub(value)
    if isinstance(value, list):
        return [_scrubbed(item, scrubber) for item in value]
    if isinstance(value, dict):
        return {scrubber.scrub(name): _scrubbed(item, scrubber) for name, item in value.items()}
    return value
