"""Takes addresses, links, user names and phone numbers out of a post, by pattern.

>>> scrub("mail me at jo@example.org or +44 20 7946 0018, u/jo_92")
'mail me at [email] or [phone], [user]'

Names of people and places are not found by this.
"""

from __future__ import annotations

import re

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
    """The post with title, text and every metadata value that is a string scrubbed."""
    metadata = {name: scrub(value) if isinstance(value, str) else value for name, value in post.metadata.items()}
    return post.model_copy(update={"title": scrub(post.title), "text": scrub(post.text), "metadata": metadata})


def _phone(match: re.Match[str]) -> str:
    found = match[0]
    digits = sum(character.isdigit() for character in found)
    likely = digits in _PHONE_DIGITS and _PHONE_SHAPE.match(found) and not _DATES.fullmatch(found)
    return "[phone]" if likely else found
