"""Says which posts no case can be planned from: too short, or not in English.

The language is taken from py3langid, which scores every language it knows. English that is odd or short can come
second by a little; another language wins by far, so only a clear win counts.
"""

from __future__ import annotations

from psyllm.errors import Failure
from psyllm.records import Post, Reason

MIN_WORDS = 8
"""Words in title and text together."""
MIN_CHARACTERS = 40
"""Below this a text is too short to tell its language."""
MARGIN = 0.3
"""Log-probability a character by which another language must beat English. On 180 public posts in English, cut into
1,489 pieces of eight words, no piece passed 0.08; eight-word sentences in sixteen other languages stood above 0.5."""


def load() -> None:
    """Load the language model (0.4 s). Raises Failure if the 68 MB that it unpacks find no room."""
    import py3langid

    try:
        py3langid.rank("")
    except OSError as error:
        raise Failure(
            "store",
            f"cannot unpack the language model into the temporary folder: {error.strerror or error}",
            hint="free 68 MB there or point TMPDIR at another folder, then run the same command",
        ) from error


def screen(post: Post) -> Reason | None:
    """The reason (role run) to leave a post out, or None."""
    text = f"{post.title}\n{post.text}".strip()
    language, margin = _language(text)
    if len(text) >= MIN_CHARACTERS and margin > MARGIN:
        return Reason(code="post_not_english", role="run", detail=f"language: {language}")
    words = len(text.split())
    if words < MIN_WORDS:
        return Reason(code="post_too_short", role="run", detail=f"{words} words, at least {MIN_WORDS} needed")
    return None


def _language(text: str) -> tuple[str, float]:
    import py3langid

    scores = py3langid.rank(text)
    best, score = scores[0]
    return best, (score - dict(scores)["en"]) / len(text)
