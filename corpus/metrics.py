"""What is counted on replies and traces: small pure functions, shared by export, `corpus stats` and the evaluators.

Word lists are not kept here: whoever counts passes the pattern, usually one of agents/checks.yaml.

>>> opening("That sounds hard. What came first?"), round(distinct(["a b a", "b a"], 2), 2)
('that sounds hard', 0.67)
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

_STRAIGHT = str.maketrans({**dict.fromkeys("‘’ʼ´`", "'"), **dict.fromkeys("“”„", '"'), **dict.fromkeys("‐‑", "-")})
_QUOTED = re.compile(r'"([^"\n]*)"')
MANUALS = re.compile(r"\b(?:DSM|ICD)\b|\b(?:DSM|ICD)-\w+", re.IGNORECASE)
"""Names of the diagnostic manuals."""
LEAST_QUOTE = 3
"""Fewest words of a quote that can be looked up."""


def plain(text: str) -> str:
    """NFKC, with straight quotes, straight apostrophes and plain hyphens."""
    return unicodedata.normalize("NFKC", text.translate(_STRAIGHT))


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain(text).casefold())


def sentences(text: str) -> list[str]:
    return [piece for piece in re.split(r"(?<=[.!?])[\"”’']?\s+|\n+", text) if piece.strip()]


def opening(reply: str) -> str:
    """The first three words of a reply."""
    return " ".join(words(reply)[:3])


def asks(reply: str) -> int:
    """How many questions a reply holds."""
    return sum("?" in sentence for sentence in sentences(reply))


def reflections(reply: str, begins: re.Pattern[str]) -> int:
    """How many sentences of a reply ask nothing and begin as something said back does."""
    return sum(bool(begins.match(part.strip())) and "?" not in part for part in sentences(plain(reply)))


def quotes(text: str) -> list[str]:
    """What stands in double quotes and is long enough to be looked up."""
    return [quote for quote in _QUOTED.findall(plain(text)) if len(words(quote)) >= LEAST_QUOTE]


def is_verbatim(quote: str, said: Iterable[str]) -> bool:
    """Whether the quote's words stand in this order in one of the texts."""
    run = f" {' '.join(words(quote))} "
    return any(run in f" {' '.join(words(text))} " for text in said)


def distinct(texts: Iterable[str], n: int) -> float:
    """distinct-n: different runs of n words over all such runs; 0 if there is none. Falls with the number of texts."""
    grams = Counter(gram for text in texts for gram in _grams(words(text), n))
    return len(grams) / grams.total() if grams else 0.0


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU (0 to 1) of each text against all others: 1 if they are all alike. Costs the square of their number."""
    from sacrebleu.metrics.bleu import BLEU

    if len(texts) < 2:
        return 0.0
    bleu = BLEU(effective_order=True)
    scores = [bleu.sentence_score(text, [*texts[:n], *texts[n + 1 :]]).score for n, text in enumerate(texts)]
    return fmean(scores) / 100


def spread(texts: Sequence[str]) -> float:
    """Mean cosine distance (0 to 1) between the texts' TF-IDF vectors: near 1 if they hardly share a rare word."""
    import numpy as np

    counts = [Counter(words(text)) for text in texts]
    counts = [count for count in counts if count]
    if len(counts) < 2:
        return 0.0
    frequency = Counter(word for count in counts for word in count)
    column = {word: n for n, word in enumerate(frequency)}
    matrix = np.zeros((len(counts), len(column)))
    for row, count in enumerate(counts):
        for word, times in count.items():
            matrix[row, column[word]] = times * np.log((1 + len(counts)) / (1 + frequency[word]) + 1)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    total = matrix.sum(axis=0)
    return float(1 - (total @ total - len(counts)) / (len(counts) * (len(counts) - 1)))


def readability(text: str) -> float | None:
    """Automated Readability Index, about the US school grade that reads it; None without words."""
    found = words(text)
    if not found:
        return None
    return 4.71 * sum(map(len, found)) / len(found) + 0.5 * len(found) / max(1, len(sentences(text))) - 21.43


def _grams(found: Sequence[str], n: int) -> Iterable[tuple[str, ...]]:
    return zip(*(found[start:] for start in range(n)), strict=False)
