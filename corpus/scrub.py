"""Takes addresses, links, user names and phone numbers out of a post, by pattern.

>>> scrub("mail me at jo@example.org or +44 20 7946 0018, u/jo_92")
'mail me at [email] or [phone], [user]'

Names of people and places are not found by this.
"""

from __future__ import annotations

import hashlib
import re

from pydantic import JsonValue

from psyllm.records import Post

_STREETS = r"Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Court|Ct|Boulevard|Blvd|Crescent|Terrace"
_PATTERNS = (
    ("[email]", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("[link]", re.compile(r"(?:https?://|www\.)[^\s<>()\[\]]*[^\s<>()\[\].,;:!?'\"]", re.IGNORECASE)),
    (
        "[link]",
        re.compile(r"\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|io|gg|co\.uk|de|tv)\b(?:/\S*)?", re.IGNORECASE),
    ),
    ("[user]", re.compile(r"(?<![\w/])/?u/[\w-]+")),
    ("[user]", re.compile(r"(?<!\w)@[A-Za-z]\w+")),
    ("[address]", re.compile(rf"\b\d{{1,5}}[a-zA-Z]?,? (?:[A-Z][a-z']+ ){{1,3}}(?:{_STREETS})\b\.?")),
    (
        "[phone]",
        re.compile(
            r"(?<![\w.,/$£€-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,5}\)[ .-]?)?\d{2,5}(?:[ .-]?\d{2,5}){1,4}(?![\w/-]|[.,]\d)"
        ),
    ),
)
_PHONE_DIGITS = range(7, 16)
_PHONE_SHAPE = re.compile(r"[+(0]|.*\d{4}")
_DATES = re.compile(r"(?:19|20)\d\d(?:[ .-]\d\d){2}|(?:\d\d[ .-]){2}(?:19|20)\d\d|(?:19|20)\d\d[ .-](?:19|20)\d\d")


def scrub(text: str) -> str:
    """The text with [email], [link], [user], [address] and [phone] in the place of what they name."""
    for placeholder, pattern in _PATTERNS:
        text = pattern.sub(placeholder if placeholder != "[phone]" else _phone, text)
    return text


def scrubbed(post: Post) -> Post:
    """The post with all its words scrubbed; an id that names somebody becomes a hash of itself."""
    own_id = post.id if scrub(post.id) == post.id else f"post-{hashlib.sha256(post.id.encode()).hexdigest()[:12]}"
    words = {"title": scrub(post.title), "text": scrub(post.text), "source": scrub(post.source)}
    return post.model_copy(update={"id": own_id, **words, "metadata": _scrubbed(post.metadata)})


def _scrubbed(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, list):
        return [_scrubbed(item) for item in value]
    return {scrub(name): _scrubbed(item) for name, item in value.items()} if isinstance(value, dict) else value


def _phone(match: re.Match[str]) -> str:
    found = match[0]
    digits = sum(character.isdigit() for character in found)
    likely = digits in _PHONE_DIGITS and _PHONE_SHAPE.match(found) and not _DATES.fullmatch(found)
    return "[phone]" if likely else found
