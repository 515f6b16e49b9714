"""A corpus in figures: sizes, distributions, grounding, leaks, diversity; and of a run its acceptance and cost.

One pass, one conversation at a time. Diversity is measured on a sample of fixed size, since it falls with the number
of texts: the replies whose hash comes first, so the same ones each time.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Literal, get_args

import yaml

from corpus import metrics
from corpus.conversations import Conversation, Exchange, conversations, is_run
from corpus.duplicates import Signatures
from corpus.metrics import asks, is_verbatim, opening, plain, quotes, words
from prompts.library import KnownMarker
from psyllm.errors import UsageError
from psyllm.records import CRISIS_CONTACTS, Mode, Severity, Status, Verdict
from psyllm.runs import Run

SAMPLE = 1000
"""Replies that distinct-n, spread and readability are measured on."""
BLEU_SAMPLE = 100
"""Replies that self-BLEU is measured on; its cost grows with their square."""

Speaker = Literal["client", "reasoning", "reply"]
SCALES: Mapping[str, tuple[str, ...]] = {
    "severity": get_args(Severity),
    "response mode": get_args(Mode),
    "engine verdicts": get_args(Verdict),
}
"""Distributions over an ordered scale -> its values."""
SPEAKERS: tuple[Speaker, ...] = get_args(Speaker)
Rate = tuple[int, int]
"""(found, out of how many)."""


@dataclass(frozen=True)
class Patterns:
    """What is looked for; matched on straightened text (`metrics.plain`)."""

    leak: re.Pattern[str]
    """Instructions that a trace repeats: limits, formats, roles."""
    stock: re.Pattern[str]
    """'It sounds like' and its relatives, at the beginning of a reply."""
    labels: re.Pattern[str]
    """Names of disorders."""
    stock_phrase: re.Pattern[str]
    """What language models fall back on, anywhere in a reply."""
    reflection: re.Pattern[str]
    """How a sentence begins that says something back."""
    markers: Callable[[str], Collection[str]]
    """The markers that code finds in a reply's words."""
    therapies: Mapping[str, re.Pattern[str]] = field(default_factory=lambda: THERAPIES)


@dataclass
class MarkerCounts:
    """On how many replies each marker was seen."""

    shown: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(school of the dialogue, marker) -> replies."""
    replies: Counter[str] = field(default_factory=Counter)
    """School of the dialogue -> replies that were looked at; '' where it is not recorded."""

    def add(self, school: str, shown: Iterable[str]) -> None:
        self.replies[school] += 1
        self.shown.update((school, name) for name in shown)

    def rates(self, known: Mapping[str, KnownMarker]) -> dict[str, Rate]:
        """Marker -> replies that show it, of those of its school; in the library's order, then those of no library."""
        strays = sorted({name for _, name in self.shown} - known.keys())
        found = {}
        for name in (*known, *strays):
            marker = known.get(name)
            schools = [s for s in self.replies if (marker.counts_in(s) if marker else (s, name) in self.shown)]
            found[name] = (sum(self.shown[s, name] for s in schools), sum(self.replies[s] for s in schools))
        return found


@dataclass
class CorpusStats:
    name: str
    dialogues: int = 0
    rehearsal: bool = False
    rounds: Counter[int] = field(default_factory=Counter)
    """Exchanges of a dialogue -> dialogues."""
    lengths: dict[Speaker, Counter[int]] = field(
        default_factory=lambda: {"client": Counter(), "reasoning": Counter(), "reply": Counter()}
    )
    """Words of a turn -> turns."""
    modality: Counter[str] = field(default_factory=Counter)
    scene: Counter[str] = field(default_factory=Counter)
    severity: Counter[str] = field(default_factory=Counter)
    mode: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    therapies_named: Counter[str] = field(default_factory=Counter)
    """Therapy -> traces that name it."""
    openings: Counter[str] = field(default_factory=Counter)
    """First three words -> replies."""
    found: Counter[str] = field(default_factory=Counter)
    """What of `rates` was found how often."""
    counted: MarkerCounts = field(default_factory=MarkerCounts)
    """Markers that code counted."""
    critic: MarkerCounts = field(default_factory=MarkerCounts)
    """Of a run: markers by the critic's word."""
    near_duplicates: int = 0
    """Dialogues that are near duplicates of an earlier one."""
    diversity: dict[str, float] = field(default_factory=dict)
    """On a sample of replies: distinct-1, distinct-2, self-BLEU, spread, readability."""
    status: dict[str, int] = field(default_factory=dict)
    """Of a run: status -> dialogues."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Of a run: reason code -> dialogues not accepted."""
    cost_usd: float | None = None
    """Of a run with prices: everything it paid."""
    tokens: int = 0
    """Of a run: prompt and completion tokens of all calls."""

    @property
    def exchanges(self) -> int:
        return self.lengths["reply"].total()

    @property
    def traces(self) -> int:
        return self.found["traces"]

    def mean_words(self, speaker: Speaker) -> float:
        lengths = self.lengths[speaker]
        return sum(length * n for length, n in lengths.items()) / lengths.total() if lengths else 0.0

    def distributions(self) -> dict[str, tuple[Mapping[str, int], int]]:
        """Title -> (value -> count, out of how many); out of 0 if the source does not record it."""
        recorded = {
            "therapy chosen": self.modality,
            "scene": self.scene,
            "severity": self.severity,
            "response mode": self.mode,
            "engine verdicts": self.verdicts,
            "openings of replies": self.openings,
            "why not accepted": self.reasons,
        }
        named = {"therapies that traces name": (self.therapies_named, self.traces)}
        return named | {title: (table, sum(table.values())) for title, table in recorded.items()}

    def rates(self) -> dict[str, Rate]:
        """What a researcher compares, as counts."""
        found, traces, replies = self.found, self.traces, self.exchanges
        return {
            "trace names DSM or ICD": (found["manual"], traces),
            "trace names a disorder": (found["label"], traces),
            "trace quotes the client": (found["quoting"], traces),
            "quotes that are verbatim": (found["verbatim"], found["quotes"]),
            "trace leaks instructions": (found["leak"], traces),
            "reply opens with a stock phrase": (found["stock"], replies),
            "reply has the commonest opening": (max(self.openings.values(), default=0), replies),
            "reply asks something": (found["asking"], replies),
            "reply names a disorder": (found["label_in_reply"], replies),
            "reply points to a crisis service": (found["crisis"], replies),
            "dialogue is a near duplicate": (self.near_duplicates, self.dialogues),
        }


def stats(path: Path, patterns: Patterns, name: str = "") -> CorpusStats:
    """The figures of one run or dataset. Raises UsageError for what cannot be read or holds no conversation."""
    corpus = CorpusStats(name or path.stem)
    signatures = Signatures()
    sample = _Sample(SAMPLE)
    for conversation in conversations(path):
        _count(corpus, conversation, patterns)
        signatures.add("\n".join(f"{e.client}\n{e.reply}" for e in conversation.exchanges))
        for exchange in conversation.exchanges:
            sample.add(exchange.reply)
    if not corpus.exchanges:
        raise UsageError(f"{path} holds no conversation", hint="`psyllm status RUN` says why none was accepted")
    groups = signatures.groups()
    corpus.near_duplicates = len(groups) - len(set(groups))
    corpus.diversity = _diversity(sample.texts())
    if is_run(path):
        with Run(path) as run:
            _of_run(corpus, run)
    return corpus


def _count(corpus: CorpusStats, conversation: Conversation, patterns: Patterns) -> None:
    corpus.dialogues += 1
    corpus.rehearsal = corpus.rehearsal or conversation.rehearsal
    corpus.rounds[len(conversation.exchanges)] += 1
    for table, value in (
        (corpus.modality, conversation.modality),
        (corpus.scene, conversation.scene),
        (corpus.severity, conversation.severity),
        (corpus.mode, conversation.mode),
    ):
        if value:
            table[value] += 1
    corpus.verdicts.update(conversation.verdicts)
    said: list[str] = []
    for exchange in conversation.exchanges:
        said.append(exchange.client)
        _count_exchange(corpus, exchange, said, patterns)
        corpus.counted.add(conversation.modality, patterns.markers(exchange.reply))
        if exchange.critic is not None:
            corpus.critic.add(conversation.modality, exchange.critic)
        said.append(exchange.reply)


def _count_exchange(corpus: CorpusStats, exchange: Exchange, said: Iterable[str], patterns: Patterns) -> None:
    reasoning, reply = plain(exchange.reasoning), plain(exchange.reply)
    found = corpus.found
    corpus.lengths["client"][len(words(exchange.client))] += 1
    corpus.lengths["reply"][len(words(reply))] += 1
    if reasoning.strip():
        found["traces"] += 1
        corpus.lengths["reasoning"][len(words(reasoning))] += 1
        found["manual"] += bool(metrics.MANUALS.search(reasoning))
        found["label"] += bool(patterns.labels.search(reasoning))
        found["leak"] += bool(patterns.leak.search(reasoning))
        quoted = quotes(reasoning)
        found["quoting"] += bool(quoted)
        found["quotes"] += len(quoted)
        found["verbatim"] += sum(is_verbatim(quote, said) for quote in quoted)
        corpus.therapies_named.update(name for name, pattern in patterns.therapies.items() if pattern.search(reasoning))
    questions = asks(reply)
    found["questions"] += questions
    found["asking"] += bool(questions)
    found["reflections"] += metrics.reflections(reply, patterns.reflection)
    found["stock phrases"] += len(patterns.stock_phrase.findall(reply))
    found["stock"] += bool(patterns.stock.match(reply.lstrip()))
    found["label_in_reply"] += bool(patterns.labels.search(reply))
    found["crisis"] += CRISIS_CONTACTS in reply or bool(_CRISIS.search(reply))
    corpus.openings[opening(reply)] += 1


def _of_run(corpus: CorpusStats, run: Run) -> None:
    corpus.status = {status.value: count for status, count in run.status_counts().items()}
    reasons: Counter[str] = Counter()
    for status, code, _, count in run.reasons():
        if status != Status.ACCEPTED:
            reasons[code] += count
    corpus.reasons = dict(reasons.most_common())
    spend = run.spend()
    corpus.tokens = sum(role.prompt_tokens + role.completion_tokens for role in spend)
    costs = [role.cost_usd for role in spend]
    corpus.cost_usd = None if None in costs else sum(cost for cost in costs if cost is not None)


class _Sample:
    """The texts whose hash comes first, at most `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, str]] = []

    def add(self, text: str) -> None:
        rank = -int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, (rank, text))
        else:
            heapq.heappushpop(self._heap, (rank, text))

    def texts(self) -> list[str]:
        return [text for _, text in sorted(self._heap, reverse=True)]


def _diversity(texts: list[str]) -> dict[str, float]:
    grades = [grade for text in texts if (grade := metrics.readability(text)) is not None]
    return {
        "distinct-1": metrics.distinct(texts, 1),
        "distinct-2": metrics.distinct(texts, 2),
        "self-BLEU": metrics.self_bleu(texts[:BLEU_SAMPLE]),
        "spread (TF-IDF)": metrics.spread(texts),
        "readability (ARI)": fmean(grades) if grades else 0.0,
    }


def _pattern(parts: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?<!\w){part}(?!\w)" for part in parts), re.IGNORECASE)


_CRISIS = _pattern(
    (r"988", r"116 ?123", r"911", r"112", r"hot-?line", r"helpline", r"crisis (?:line|service|text line)")
)
THERAPIES: Mapping[str, re.Pattern[str]] = {
    name: _pattern(parts)
    for name, parts in yaml.safe_load((Path(__file__).parent / "therapies.yaml").read_text(encoding="utf-8")).items()
}
