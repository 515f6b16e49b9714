"""What scrubbing finds and what it harms, on fictional posts with planted personal data (bench/scrub_posts.txt).

    python -m bench.scrub              # recall and precision by kind, for all lines and for those never looked at
    python -m bench.scrub --misses     # every miss and every false alarm

Found means: nothing of the planted words is left but digits and letters shared by chance. A false alarm is a word that
was taken and not planted. Other scrubbers can be compared where they are installed: --with presidio, --with scrubadub.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corpus.scrub import find

POSTS = Path(__file__).parent / "scrub_posts.txt"
_PLANTED = re.compile(r"\{([A-Z_]+)\|([^}]*)\}")
Finder = Callable[[str], list[tuple[str, int, int]]]


@dataclass(frozen=True)
class Planted:
    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Post:
    line: int
    """1-based among the posts; even ones were never looked at."""
    text: str
    planted: tuple[Planted, ...]


def posts() -> Iterator[Post]:
    lines = [line for line in POSTS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    for number, line in enumerate(lines, 1):
        text, planted, last = "", [], 0
        for match in _PLANTED.finditer(line):
            text += line[last : match.start()]
            planted.append(Planted(match[1], len(text), len(text) + len(match[2])))
            text, last = text + match[2], match.end()
        yield Post(number, text + line[last:], tuple(planted))


def ours(text: str) -> list[tuple[str, int, int]]:
    return [(found.kind, found.start, found.end) for found in find(text)]


def presidio() -> Finder:
    """Presidio with whatever spaCy model is installed, which is none that PyPI keeps."""
    from presidio_analyzer import AnalyzerEngine

    kinds = {"PERSON": "NAME", "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "URL": "LINK", "LOCATION": "ADDRESS"}
    engine = AnalyzerEngine()

    def look(text: str) -> list[tuple[str, int, int]]:
        found = engine.analyze(text, language="en", score_threshold=0.4)
        return [(kinds[one.entity_type], one.start, one.end) for one in found if one.entity_type in kinds]

    return look


def scrubadub() -> Finder:
    """scrubadub as installed: no names without a model."""
    import scrubadub as library

    kinds = {"email": "EMAIL", "url": "LINK", "phone": "PHONE", "twitter": "USER", "name": "NAME", "address": "ADDRESS"}
    scrubber = library.Scrubber()

    def look(text: str) -> list[tuple[str, int, int]]:
        return [(kinds.get(one.type, one.type), one.beg, one.end) for one in scrubber.iter_filth(text)]

    return look


def measure(finder: Finder, chosen: list[Post], *, show: bool = False) -> dict[str, Counter[str]]:
    """Kind -> planted, found, taken, false."""
    counts: dict[str, Counter[str]] = {}
    for post in chosen:
        found = finder(post.text)
        for planted in post.planted:
            inside = post.text[planted.start : planted.end]
            left = "".join(
                letter
                for place, letter in enumerate(inside, planted.start)
                if letter.isalnum() and not any(start <= place < end for _, start, end in found)
            )
            held = len(left) <= 2 and len(left) < sum(map(str.isalnum, inside))
            counts.setdefault(planted.kind, Counter()).update(planted=1, found=held)
            if show and not held:
                print(f"line {post.line}: missed {planted.kind}: {inside!r}, left {left!r}")
        for kind, start, end in found:
            right = any(p.start < end and start < p.end for p in post.planted)
            counts.setdefault(kind, Counter()).update(taken=1, false=not right)
            if show and not right:
                print(f"line {post.line}: false {kind}: {post.text[start:end]!r}")
    return counts


def table(counts: dict[str, Counter[str]]) -> str:
    lines = [f"{'kind':10} {'planted':>8} {'found':>6} {'recall':>7} {'taken':>6} {'false':>6} {'precision':>10}"]
    total = Counter[str]()
    for kind, count in [*sorted(counts.items()), ("all", total)]:
        total.update(count if kind != "all" else {})
        recall = f"{count['found'] / count['planted']:.1%}" if count["planted"] else "-"
        precision = f"{1 - count['false'] / count['taken']:.1%}" if count["taken"] else "-"
        lines.append(
            f"{kind:10} {count['planted']:8} {count['found']:6} {recall:>7} {count['taken']:6} {count['false']:6}"
            f" {precision:>10}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--misses", action="store_true", help="show every miss and false alarm")
    parser.add_argument("--with", dest="library", choices=("presidio", "scrubadub"))
    options = parser.parse_args()
    finder = {"presidio": presidio, "scrubadub": scrubadub}[options.library]() if options.library else ours
    everything = list(posts())
    unseen = [post for post in everything if post.line % 2 == 0]
    print(f"all {len(everything)} posts\n{table(measure(finder, everything, show=options.misses))}\n")
    print(f"the {len(unseen)} posts never looked at\n{table(measure(finder, unseen))}")


if __name__ == "__main__":
    main()
