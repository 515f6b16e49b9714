"""How one client sentence is read: its clauses, and what rules on words alone can tell about it.

said = Said.of("I'm not worthless, just tired.")
said.negations(["worthless", "tired"])  # [True, False]
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_MARKS = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"'})
_JOINTS = re.compile(r"[,;:.!?()–—]+|\s-\s|\b(?:and|but|or|so|because|then|while|though|although|plus)\b")
_KIN = (
    r"mum|mom|mother|dad|father|parents?|sister|brother|wife|husband|partner|boyfriend|girlfriend|friends?|mates?|son"
    r"|daughter|kids?|child|children|boss|colleagues?|roommate|flatmate|cousin|uncle|aunt|gran|grandma|grandpa|nan|ex"
)
_SOMEBODY = re.compile(rf"(?:well |and |but |so )?((?:my|our|his|her|their) (?:\w+ )?(?:{_KIN})\b|(?:he|she|they)\b)")
_FIRST_PERSON = re.compile(r"\b(?:i|me|myself|mine|we|us)\b")
_NEGATED = re.compile(r"(?:\b(?:no|not|never|neither|nor|without|hardly|cannot|dont|none|\w+n't))(?: [\w'-]+){0,5} $")
_NOT_NEGATING = re.compile(  # a negator that asserts what follows, or says nothing about it
    r"\b(?:can't|cannot|can not|couldn't|don't know how to) (?:stop|help|shake|escape|get rid of|cope|bear|stand)\b"
    r"|\b(?:not|isn't|wasn't) (?:only|just|even)\b|\bnever (?:been (?:so|more|this)|not)\b"
    r"|\bno (?:doubt|wonder|matter)\b"
    r"|\b(?:don't|do not|not|can't) (?:know|sure|understand|see|remember|tell) (?:why|how|when|if|whether)\b"
)
_ANSWER = re.compile(r"(?:yes|yeah|yep|yup|no|nope|nah|not really|not at all|never)\b")
_BARE_ANSWER = re.compile(rf"(?:{_ANSWER.pattern}|kind of|sort of|ok)(?: i (?:do|am|have|don't))?[ .!?,]*")
_HARMLESS_IF = re.compile(
    r"\b(?:as|even|what) if\b|\bif (?:i'm|i am) honest\b|\bif (?:that|it) makes sense\b|\bif anything\b"
)
_SUPPOSED = re.compile(r"\b(?:if|would|wouldn't|might|could|probably|\w+'d)\b")
_UNSURE = re.compile(
    r"\b(?:can't|cannot|couldn't) tell (?:if|whether)\b"
    r"|\b(?:don't know|dunno|not sure|no idea|wonder|wondering) (?:if|whether)\b"
    r"|^(?:so |and |but |or )?(?:am i|could i be|do you think|is (?:it|this|that)|does (?:it|this|that) mean)\b.*\?"
)
_PAST = re.compile(
    r"\bused to\b|\bwhen i was\b|\bas a (?:kid|child|teen\w*)\b"
    r"|\byears ago\b|\bin the past\b|\bback (?:then|in)\b"
)
_PRESENT = re.compile(
    r"\b(?:now|nowadays|still|again|since|lately|currently|always|today|tonight|these days|any ?more|ever)\b"
    r"|\b(?:i'm|am|is|are|do|does|has|have|can|keep|feel|isn't|aren't|don't|doesn't|hasn't|haven't|can't|\w+'ve)\b"
)
_AROUND_A_LABEL = """a also an and ago as at bad basically be been being both by called clinical clinically condition
    definitely diagnosed diagnosis disorder doctor few for from gave get got gp guess had has have having he her his i
    i'm i've in is it it's just kind label like major me mild moderate month months my of on or pretty probably
    psychiatrist really said say says score scored severe she since so some suffer suffering suffers test textbook that
    the they therapist think thinks to told too two three four five type very was week weeks well with year years yes"""
_FRAME = frozenset(_AROUND_A_LABEL.split())


def normal(text: str) -> str:
    """NFKC, lower case, straight quotation marks, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_MARKS).lower().split())


@dataclass(frozen=True)
class Said:
    text: str
    """Normalised."""
    clauses: tuple[str, ...]
    """Parts between commas and joining words; parts of one word only if there are no others."""

    @classmethod
    def of(cls, sentence: str) -> Said:
        text = normal(sentence)
        parts = tuple(part.strip() for part in _JOINTS.split(text) if part.strip())
        return cls(text, tuple(part for part in parts if " " in part) or parts)

    @property
    def answers(self) -> bool:
        """Whether it opens with a yes or no."""
        return _ANSWER.match(self.text) is not None

    @property
    def bare_answer(self) -> bool:
        """Whether it is a yes or no and nothing else."""
        return _BARE_ANSWER.fullmatch(self.text) is not None

    def negations(self, words: Iterable[str]) -> list[bool]:
        """For each beginning of a word that occurs: whether a negator stands up to five words before it."""
        found = []
        for clause in self.clauses:
            text = _NOT_NEGATING.sub("...", clause)
            for word in words:
                at = [match.start() for match in re.finditer(rf"\b{re.escape(word)}", text)]
                found += [_NEGATED.search(text[:start]) is not None for start in at]
        return found

    def only_label(self, labels: Iterable[str]) -> str:
        """The label (given by its beginning) when nothing but framing words stands around it; else empty."""
        if not (starts := "|".join(map(re.escape, labels))):
            return ""
        pattern = re.compile(rf"\b(?:{starts})[\w-]*")
        found = pattern.search(self.text)
        rest = re.findall(r"[a-z][a-z'-]+", pattern.sub(" ", self.text))
        return found[0] if found and _FRAME.issuperset(rest) else ""

    def somebody_else(self) -> str:
        """The subject, when it is somebody else and no first person occurs; else empty."""
        found = _SOMEBODY.match(self.text)
        return found[1] if found and not _FIRST_PERSON.search(self.text) else ""

    def unsure(self) -> str:
        """The words by which it is asked or doubted; else empty."""
        found = _UNSURE.search(self.text)
        return found[0] if found else ""

    def supposed(self) -> bool:
        """Whether every clause is an if or a would."""
        said = Said.of(_HARMLESS_IF.sub(" ", self.text))
        return "if" in said.text.split() and all(_SUPPOSED.search(clause) for clause in said.clauses)

    def over(self) -> str:
        """The words that put it in the past, when nothing says that it goes on; else empty."""
        found = _PAST.search(self.text)
        return found[0] if found and not _PRESENT.search(self.text) else ""
