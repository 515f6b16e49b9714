"""Ages of minors: whether the writer of a post is one, and where the age of a child stands.

>>> minor("17f, no idea what to do")
'17f'
>>> minor("I'm 15 weeks pregnant") or minor("I was 15 when it began") or minor("34m here")
''
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from corpus.words import alternatives

ADULT = 18
_YOUNGEST_WRITER = 8
_OLD = r"(?:[ -]?(?:years?|yrs?|y)[ -]?(?:olds?|o)\b|[ -]?y/?o\b)"
_SPELLED = {"thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17}
_SELF = re.compile(
    r"(?<![\w'])(?:"
    r"(?:i'?m|i am|iam) (?:(?:a|an|only|just|still|currently|almost|nearly|about to (?:be|turn)|turning|like) ){0,3}"
    rf"(\d{{1,2}}|{'|'.join(_SPELLED)})(?=\s*(?:{_OLD}|[.,;!?)\]\n]|[mf]\b"
    r"|(?:and|but|so|now|male|female|girl|boy|going on)\b|$))"
    r"(?!\.\d|,\d| and a half (?:weeks|months))"
    r"|(\d{1,2})\s?/?\s?(?:f|m|nb|ftm|mtf)(?![\w'])(?!\s(?:old|is|was))"
    r"|(\d{1,2}) (?:female|male|girl|boy)(?=[\s,.)\]]*(?:here|from|and i\b|[,.)\]\n]|$))"
    r"|[fm]\s?/?\s?(\d{1,2})(?=[\s)\],.;!?]|$)(?!\.\d|,\d|\s*(?:weeks|days|am|pm))"
    rf"|as an? (\d{{1,2}}){_OLD}"
    r"|(?:i |(?<!.)|(?<=[.!?] ))just turned (\d{1,2})(?=[\s).,;!?]|$)(?! (?:years|months|weeks|days))"
    r"|i(?:'ll be|'ll turn| will be| will turn|'m turning| turn| turned| just turned) (\d{1,2})"
    r" (?:soon|next|this|in|last|today|yesterday|tomorrow)"
    r")",
    re.IGNORECASE,
)
_SCHOOL = re.compile(
    r"\bi(?:'?m| am) (?:currently |still |just |only )?(?:a |an )?(?:in |starting |going into |entering )?"
    r"(?:(?:the )?(?:[6-9]|10|11|12)th grade(?:r)?|(?:sixth|seventh|eighth|ninth|tenth|eleventh) grade(?:r)?"
    r"|(?:a )?(?:freshman|sophomore|junior|senior) (?:in|at|of) (?:my )?high ?school"
    r"|(?:high|middle) ?school(?:er)?\b"
    r"(?! (?:teacher|counsell?or|drop[- ]?out|grad\w*|principal|coach|nurse|sweetheart))"
    r"|year (?:[7-9]|10|11)\b|minor\b(?! (?!and|but|so)\w)|under ?age\b|doing my gcses)"
    r"|\bi(?:'?m| am) (?:currently |still |just |only )?a (?:\w+ )?teen(?:age[rd]?)?\b",
    re.IGNORECASE,
)
_PAST = re.compile(
    r"(?:\b(?:was|were|been)|since|when i|when i was|from|until|till|at(?: the)?|by|around|back then)"
    r"(?: (?:a|an|about|like|only|the|around|age of|i was|we were))*\s*$",
    re.IGNORECASE,
)


def minor(text: str) -> str:
    """The words by which the writer is under 18 now, or ''."""
    text = _straight(text)
    for match in _SELF.finditer(text):
        if _young(match) and not _PAST.search(text, max(0, match.start() - 40), match.start()):
            return match[0].strip()
    found = _SCHOOL.search(text)
    return found[0] if found else ""


def ages_of_minors(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each number that is the age of somebody under 18 now.

    "When I was 12" is a part of a grown person's history, and stays.
    """
    text = _straight(text)
    for match in _SELF.finditer(text):
        if _young(match) and not _PAST.search(text, max(0, match.start() - 40), match.start()):
            yield match.span(match.lastindex or 0)
    for match in _others().finditer(text):
        if not _PAST.search(text, max(0, match.start() - 40), match.start()):
            for number in re.finditer(r"\d+", match[0]):
                if int(number[0]) < ADULT:
                    yield match.start() + number.start(), match.start() + number.end()


def _young(match: re.Match[str]) -> bool:
    return _YOUNGEST_WRITER <= years(match[match.lastindex or 0]) < ADULT


def years(age: str) -> int:
    """An age in figures or, of a teenager, in letters, as a number."""
    return _SPELLED.get(age.casefold()) or int(age)


def _straight(text: str) -> str:
    """As long as before: offsets hold in both."""
    return text.replace("’", "'")


@cache
def _others() -> re.Pattern[str]:
    young = f"{alternatives('children')}|{alternatives('siblings')}"
    verb = (
        r"(?:,? who|,? that|,)?(?:'s| is| are| was| just turned| turned| turning| turns| will be)?"
        r"(?: only| just| now)?,?"
    )
    several = r"\d{1,2}(?:(?:, | and | & |, and )\d{1,2})*"
    return re.compile(
        rf"(?:\b(?:{young})(?: [A-Z]\w+)?{verb} \(?(?:ages? |aged )?{several}(?=[).,;!?\s]|$)"
        r"(?!\s?(?:%|weeks|days|hours|minutes|times|years? (?!old)|lbs|kg|am\b|pm\b|of\b)|:\d|/\d|\.\d)"
        rf"|\b(?:she|he|(?-i:[A-Z][a-z]+))(?:'s| is| just turned| turned) {several}(?=[.,;!?)]| and\b|$)"
        rf"|\b\d{{1,2}}(?:(?: and | or |, )\d{{1,2}})?{_OLD}"
        r"|\bage[sd]? \d{1,2}(?:(?:, | and | & |-| to )\d{1,2})*\b)",
        re.IGNORECASE,
    )
