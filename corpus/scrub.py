"""Takes personal data out of a post; the same thing gets the same placeholder wherever the post names it.

>>> Scrubber(["mail me at jo@example.org or +44 20 7946 0018, u/jo_92. Jo"]).scrub("u/jo_92: jo@example.org")
'[USER_1]: [EMAIL_1]'

User names, names of people, e-mail addresses, phone numbers, postal addresses, links, workplaces and schools, and the
ages of minors. What a case is understood by stays: ages of adults, durations, medication, names of disorders. Towns
and countries stay too. What it finds and misses is measured by bench/scrub.py.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache

from corpus.ages import ages_of_minors, years
from corpus.people import names
from corpus.words import alternatives, first_names, listed

KINDS = ("EMAIL", "LINK", "USER", "ADDRESS", "PHONE", "WORKPLACE", "BIRTHDAY", "CHILD_AGE", "TEEN_AGE", "NAME")
"""Where two kinds claim the same words, the earlier wins."""
_PLACEHOLDER = re.compile(rf"\[({'|'.join(KINDS)}|METHOD)(?:_(\d+))?\]")
_TEENS = range(13, 18)

Span = tuple[int, int]


@dataclass(frozen=True)
class Found:
    kind: str
    start: int
    end: int


@dataclass
class Scrubber:
    """Knows what was found in all the texts of one post."""

    texts: Iterable[str]
    counts: Counter[str] = field(default_factory=Counter)
    """Placeholders put in so far, by kind."""
    _numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for text in self.texts:
            for known in _PLACEHOLDER.finditer(text):
                self._numbers.setdefault((known[1], known[0]), int(known[2] or 0))
            for found in find(text):
                if found.kind == "NAME":
                    self._number("NAME", text[found.start : found.end])
                    self._names |= set(_words(text[found.start : found.end]))

    def scrub(self, text: str) -> str:
        """The text with a numbered placeholder in the place of what it gives away. Scrubbing twice changes nothing."""
        found = find(text)
        pieces, last = list[str](), 0
        for one in _disjoint([*found, *self._named_before(text)]) if found or self._names else ():
            pieces += [text[last : one.start], self._placeholder(one.kind, text[one.start : one.end])]
            last = one.end
        return "".join((*pieces, text[last:]))

    def _named_before(self, text: str) -> Iterator[Found]:
        """A name found anywhere in the post is a name everywhere in it, if written like one."""
        for match in re.finditer(r"[^\W\d_]+", text):
            if match[0].casefold() in self._names and (match[0][0].isupper() or len(match[0]) > 4):
                yield Found("NAME", *match.span())

    def _placeholder(self, kind: str, words: str) -> str:
        self.counts[kind] += 1
        return f"[{kind}_{self._number(kind, words)}]"

    def _number(self, kind: str, words: str) -> int:
        """The number of this thing; every part of a full name stands for the same person."""
        keys = _words(words) if kind == "NAME" else [_normal(kind, words)]
        known = [self._numbers[kind, key] for key in keys if (kind, key) in self._numbers]
        number = known[0] if known else 1 + max((n for (of, _), n in self._numbers.items() if of == kind), default=0)
        for key in keys:
            self._numbers.setdefault((kind, key), number)
        return number


def scrub_id(post_id: str) -> str:
    """The id, or a hash of it where it names somebody."""
    words = re.findall(r"[^\W\d_]+", post_id)
    named = any(len(word) > 4 and first_names().get(word.casefold()) for word in words)
    if named or (not _PLAIN_ID.fullmatch(post_id) and find(post_id)):
        return f"post-{hashlib.sha256(post_id.encode()).hexdigest()[:12]}"
    return post_id


_PLAIN_ID = re.compile(r"(?!.*\d{7})[\w-]+")


@lru_cache(maxsize=256)
def find(text: str) -> tuple[Found, ...]:
    """All personal data in a text, in order, without overlaps."""
    found = [
        Found(kind, *match.span(match.lastindex or 0))
        for kind, mark, pattern in _patterns()
        if mark is None or mark.search(text)
        for match in pattern.finditer(text)
    ]
    found += [Found("WORKPLACE", *span) for span in _workplaces(text)]
    found += [Found("NAME", *span) for span in names(text)]
    if _DIGIT.search(text):
        found += [Found("PHONE", *match.span()) for match in _PHONE.finditer(text) if _is_phone(match[0])]
    if _AGE.search(text):
        found += [Found(_age_kind(text[start:end]), start, end) for start, end in ages_of_minors(text)]
    return tuple(_disjoint(found, taken=[match.span() for match in _PLACEHOLDER.finditer(text)]))


def _disjoint(found: list[Found], taken: Iterable[Span] = ()) -> list[Found]:
    held, kept = list(taken), list[Found]()
    for one in sorted(found, key=lambda f: (KINDS.index(f.kind), f.start - f.end)):
        if all(one.end <= start or end <= one.start for start, end in held):
            held.append((one.start, one.end))
            kept.append(one)
    return sorted(kept, key=lambda f: f.start)


def _words(name: str) -> list[str]:
    return [word.casefold() for word in re.findall(r"[^\W\d_]+", name) if len(word) > 1]


def _normal(kind: str, words: str) -> str:
    return re.sub(r"\D", "", words) if kind == "PHONE" else words.casefold().strip(" @/").removeprefix("u/")


def _age_kind(age: str) -> str:
    return "TEEN_AGE" if years(age) in _TEENS else "CHILD_AGE"


# ---------------------------------------------------------------- what has a shape of its own

_MONTH = r"(?:jan|febr?|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(?:uary|ch|il|ust|ember|ober)?\.?"
_DAY = rf"(?:\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?)(?:,? (?:19|20)\d\d)?"
_WORD = r"(?:St\.|[A-Z][\w'’-]*)"


_DIGIT = re.compile(r"\d")
_AGE = re.compile(r"\d|(?i:teen)")
_STREET_END = r"(?:,? (?:[A-Z]{2}(?: \d{5})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})\b)?"


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str] | None, re.Pattern[str]], ...]:
    """Kind; what a text must hold for a look to be worth it; the pattern. Its last group, if any, is what is meant."""
    streets, platforms = alternatives("streets"), alternatives("platforms")
    unit = r"(?i:flat|apt\.?|apartment|unit|#) ?#?\w{1,4}"
    table = (
        ("EMAIL", "@", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
        (
            "EMAIL",
            r"(?i:gmail|hotmail|yahoo|outlook|icloud|proton|aol)",
            r"(?i:[\w.+-]+ ?(?:\(at\)|\[at\]| at ) ?(?:gmail|hotmail|yahoo|outlook|icloud|protonmail|proton|aol)"
            r" ?(?:\.|\(dot\)|\[dot\]| dot ) ?(?:com|co\.uk|net|org|me)\b)",
        ),
        ("LINK", r"(?i:http|www)", r"(?i:(?:https?://|www\.)[^\s<>()\[\]]*[^\s<>()\[\].,;:!?'\"*])"),
        (
            "LINK",
            r"\w\.[a-z]",
            r"(?<![\w@.-])[A-Za-z0-9-]{2,}(?:\.[a-z0-9-]+)*\.(?:com|org|net|io|gg|co\.uk|org\.uk|de|tv|me|ly|app|info|edu)"
            r"\b(?:/[^\s<>()\[\]]*[^\s<>()\[\].,;:!?'\"*])?",
        ),
        ("USER", "u/", r"(?<![\w/])/?u/[\w-]+"),
        ("USER", "@", r"(?<![\w@])@[A-Za-z][\w.]*\w"),
        (
            "USER",
            None,
            rf"\b(?i:{platforms})(?: (?i:is|name|user|username|id|handle|tag|account))*(?: is|:| -|,)? ?"
            r"@?((?=[\w.-]*[\d_.]\w)[A-Za-z0-9][\w.-]{2,}\w(?:#\d{4})?)",
        ),
        ("USER", "#", r"\b[\w.]{2,32}#\d{4}\b"),
        (
            "ADDRESS",
            r"\d",
            rf"(?:{unit},? )?\b\d{{1,5}}[a-zA-Z]?,? (?:{_WORD} ){{1,3}}(?:{streets})\b\.?"
            rf"(?:,? {unit})?(?:, [A-Z][a-z]+(?: [A-Z][a-z]+)?)?{_STREET_END}",
        ),
        (
            "ADDRESS",
            r"\d",
            rf"\b\d{{1,5}} (?:(?!(?:{alternatives('no_street')})\b)[a-z]+ ){{1,2}}"
            r"(?:street|avenue|road|boulevard|lane|crescent)\b",
        ),
        (
            "ADDRESS",
            None,
            rf"\b(?:on|at|to|off|in) ((?:{_WORD} ){{1,2}}(?:Street|Road|Avenue|Lane|Boulevard|Crescent|Terrace)\b)",
        ),
        ("ADDRESS", r"\d", r"\b(?i:p\.?\s?o\.? box) \d+\b"),
        ("ADDRESS", r"\d", r"\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"),
        ("ADDRESS", r"\d", rf"\b{_WORD}(?: {_WORD})?, [A-Z]{{2}} \d{{5}}\b"),
        ("BIRTHDAY", "(?i:birthday)", rf"(?i:\b({_DAY})(?: is| was| will be|'s)? my (?:\w+ )?birthday\b)"),
        ("BIRTHDAY", "(?i:birthday)", rf"(?i:\bmy (?:\w+ )?birthday(?: is| was|'s)?(?: on)?(?: the)? ({_DAY})\b)"),
        ("BIRTHDAY", "(?i:born)", rf"(?i:\bborn (?:on )?(?:the )?({_DAY})\b)"),
    )
    return tuple((kind, re.compile(mark) if mark else None, re.compile(shape)) for kind, mark, shape in table)


_PHONE = re.compile(
    r"(?<![\w.,/$£€-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,5}\)[ .-]?)?\d{2,5}(?:[ .-]?\d{2,5}){1,4}(?![\w/-]|[.,]\d)"
)
_PHONE_DIGITS = range(7, 16)
_PHONE_SHAPE = re.compile(r"[+(0]|.*\d{4}")
_DATES = re.compile(r"(?:19|20)\d\d(?:[ .-]\d\d){2}|(?:\d\d[ .-]){2}(?:19|20)\d\d|(?:19|20)\d\d[ .-](?:19|20)\d\d")


def _is_phone(found: str) -> bool:
    digits = sum(character.isdigit() for character in found)
    return digits in _PHONE_DIGITS and bool(_PHONE_SHAPE.match(found)) and not _DATES.fullmatch(found)


# ---------------------------------------------------------------- workplaces and schools


@cache
def _at_work() -> re.Pattern[str]:
    cue = (
        r"(?:(?:work(?:s|ed|ing)?|job|shifts?|intern(?:ed|ship)?|employed|employee|hired|fired|manager|nurse|teacher"
        r"|cashier|barista|driver|clerk|study(?:ing)?|studied|student|enrolled|start(?:ed)?|promoted|laid off"
        r"|position|interview(?:ed)?|career|teach|quit)"
        r"(?: (?:part[- ]time|full[- ]time|now|over|again|nights|back|from home))*,? (?:at|for|with|by|from)"
        r"|(?:some(?:body|one)|every(?:body|one)|no(?:body| one)|people|colleagues?|coworkers?|boss|team|lady|guy|hr)"
        r" (?:at|of|from)) (?:the |a |an |my )?"
    )
    run = rf"{_WORD}(?:(?: (?:of|and|&|the))? {_WORD}| & {_WORD})*"
    return re.compile(rf"\b(?i:{cue})(?:({run})|((?i:{alternatives('chains')})(?!\w)))")


@cache
def _organisation() -> re.Pattern[str]:
    suffix = alternatives("organisations")
    return re.compile(
        rf"\b((?:{_WORD} (?:of |and |& )?){{1,4}}(?:Primary |Secondary |High |Middle |Community |General |Medical )*"
        rf"(?:{suffix}|High School|Medical Center|Care Home|Nursing Home))\b"
        rf"|\b(University of (?:the )?{_WORD}(?: {_WORD})?)"
    )


def _workplaces(text: str) -> Iterator[Span]:
    for pattern in (_at_work(), _organisation()):
        for match in pattern.finditer(text):
            start, end = match.span(match.lastindex or 0)
            words = text[start:end].split()
            while len(words) > 1 and words[0].casefold() in listed("not_names"):
                start += len(words.pop(0)) + 1
            one = words[0].casefold().strip("'’")
            if len(words) > 1 or one in listed("chains") or one not in listed("no_workplace") | listed("not_names"):
                yield start, end
