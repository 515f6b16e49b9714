"""How one client sentence is read: its clauses, and what rules on words alone can tell about it.

said = Said.of("I'm not worthless, just tired.")
said.negations(["worthless", "tired"], said.clauses)  # [True, False]
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

_MARKS = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"'})
_JOINTS = re.compile(
    r"[,;:!?()–—]+|\.(?!\d)|\s-\s|\b(?:and|but|or|so|because|then|while|though|although|plus|whereas|yet)\b"
)
_KIN = (
    r"mum|mom|mother|dad|father|parents?|sister|brother|wife|husband|partner|boyfriend|girlfriend|friends?|mates?|son"
    r"|daughter|kids?|child|children|boss|colleagues?|roommate|flatmate|cousin|uncle|aunt|gran|grandma|grandpa|nan|ex"
    r"|old man|missus|niece|nephew|neighbour|grandmother|grandfather|stepdad|stepmum|girl|lad|twin"
)
_PERSON = r"guy|girl|man|woman|bloke|lad|lady|person|people"
_SOMEBODY = re.compile(
    rf"(?:well |and |but |so |also |plus |when |if |now |(?:which|that|it)(?:'s| is| was) |(?:just )?like )*"
    rf"((?:my|our|his|her|their|the|an?|one) (?:[\w-]+ )?(?:{_KIN})\b|(?:he|she|they)\b"
    rf"|(?:mum|mom|mam|dad|mama|papa|gran|grandma|grandad|nan)\b|(?:the|this|that|some|an?) (?:\w+ )?(?:{_PERSON})\b"
    rf"|(?:his|her|their) (?:drink\w*|mood\w*|depression|anxiety|panic|sleep|insomnia|weight|eating|temper|drug\w*)\b"
    rf"|(?:half|most|all|some) (?:of )?(?:my|our|the) (?:team|class|family|friends|colleagues|year|office|ward)\b"
    rf"|(?:nobody|no one) (?:in|at|from|around|else)\b"
    rf"|(?:most|some|many|other) people\b|people like (?:me|us)\b|everyone\b|everybody\b)"
)
_FIRST_PERSON = re.compile(r"\b(?:i|me|myself|mine|we|us)\b")
_LIKE_ME = re.compile(
    r"\blike (?:me|us)\b|\bof (?:mine|ours)\b"
    r"|\b(?:who |that )?(?:i|we) (?:live[ds]?|work(?:ed)?|share\w*(?: \w+){1,3}|know|knew|sit|sat|stud(?:y|ied)|met)"
    r"(?: (?:with|next to|beside|for))?\b"
)
_FRAGMENT = re.compile(  # a clause without a subject of its own
    r"(?:says?|said|always|just|only|hardly|can't|won't|doesn't|has|is|was|had|hasn't|\w+[^s\W]s)\b"
    r"|(?:\w{2,}ed|cried|drank|went|got|lost|left|slept|ate|took|did|kept|hit)\b|(?!(?:nothing|everything"
    r"|nobody cares|life|no)\b)\S+(?: \S+)?$|never\b"
)
_OPINION = re.compile(
    rf"(?:(?:my|our) (?:\w+ )?(?:{_KIN})|he|she|they|everyone|everybody) (?:reckons?|thinks?|believes?"
    rf"|is convinced|are convinced|wants? me)\b"
)
_ANAPHOR = re.compile(r"(?:it|that|this)(?:'s| is| has| was)\b|(?:for|since)\b")
_NEGATOR = r"(?:no|not|never|neither|nor|without|hardly|cannot|dont|none|nothing|\w+n't)"
_SUBJECT = r"(?:i|he|she|we|they|you)(?:'\w+)?"
_NEGATED = re.compile(rf"(?:\b{_NEGATOR})(?: (?!{_SUBJECT} )[\w'-]+){{0,5}} $")
_SAID_OF_SELF = re.compile(
    rf"\b(think|believe|say|saying|feel|reckon|mean|that|like|as if|as though) (?:that )?{_SUBJECT}(?= )"
)
_NOT_NEGATING = re.compile(  # a negator that asserts what follows, or says nothing about it
    r"\b(?:can't|cannot|can not|couldn't|don't know how to|won't|wouldn't)"
    r" (?:stop|help|shake|escape|get rid of|cope|bear|stand|go away|let go|leave me)\b"
    r"|\b(?:not|isn't|wasn't) (?:only|just|even)\b|\bnever (?:been (?:so|more|this)|not|stop\w*)\b|\bnot (?:un\w+)\b"
    r"|\b(?:can't|cannot|can not|couldn't) (?:not|get (?:[\w']+ ){1,5}out)\b"
    r"|\b(?:can't|cannot|can not|couldn't) (?:even )?(?:tell you|say|describe|explain|begin to \w+) how\b"
    r"|\b(?:can't|cannot|couldn't|don't|doesn't|never|won't|nothing|not)(?: [\w'-]+){1,6}?"
    r" (?:without|until|till|unless)\b"
    r"|\b(?:can't|cannot|couldn't|don't)(?: [\w'-]+){1,4} anything (?:else|but)\b"
    r"|\bnever (?:felt|seen|had|known) (?:so|more|this|such|worse)\b"
    r"|\bno (?:doubt|wonder|matter|idea)\b|\bnothing but\b|\bnot a (?:day|night|week) (?:goes|passes"
    r"|without)\b.*?without\b"
    r"|\b(?:don't|do not|not|can't) (?:know|sure|understand|see|remember|tell) (?:why|how|when|if|whether|what)\b"
)
_ANSWER = re.compile(r"(?:yes|yeah|yep|yup|no|nope|nah|not really|not at all|never)\b")
_TAIL = (
    r"(?: i (?:do|am|have|don't|guess|suppose|think so)| a bit| both| all (?:of )?(?:that|it|them)| that(?: too)?|"
    r" definitely| exactly| totally| kind of| sort of| sometimes| of course| probably| maybe| really| to (?:both"
    r"|all)(?: of (?:that|them|it))?)*"
)
_BARE_ANSWER = re.compile(
    rf"(?:{_ANSWER.pattern}|kind of|sort of|ok|both|all of (?:it|that|them)|i guess(?: so)?){_TAIL}"
)
_HARMLESS_IF = re.compile(
    r"\b(?:as|even) if\b|\bif (?:i'm|i am) (?:being )?honest\b|\bif (?:that|it) makes sense\b"
    r"|\bif (?:anything|ever)\b|\bif (?:i'm|i am) (?:\w+ )?lucky\b"
    r"|\bif (?:that|it) matters\b|\bif you (?:ask me|like|know what)\b"
    r"|\b(?:can't|cannot|don't|never|only) (?:\w+ ){1,4}unless\b"
)
_SUPPOSED = re.compile(r"\b(?:if|unless|i'll|i will|would|wouldn't|might|could|probably|\w+'d)\b")
_FEARED = re.compile(
    r"\b(?:(?:afraid|scared|worried|terrified|frightened|fear|dread|worry) (?:that )?i(?:'ll| will|'d| would"
    r"| might| could|'m going to)"
    r"|i(?:'d| would) (?:probably|end up|just|fall|be|become|go)|i might|i may (?:be|become|end)|i could end up"
    r"|(?:one day|some ?day|sooner or later|eventually) i(?:'ll| will| might)|suppos(?:e|ing) (?:i|he|she|it|they|we)\b"
    r"|imagine(?: if)?|what if i|i hope i (?:don't|never))\b"
)
_JOKING = re.compile(r"\b(?:just kidding|only joking|just joking|jk|kidding)\b")
_UNSURE = re.compile(
    r"\b(?:can't|cannot|couldn't) tell (?:if|whether)\b"
    r"|\b(?:don't know|dunno|not sure|no idea|wonder|wondering) (?:if|whether)\b|\b(?:don't"
    r"|do not) know(?: (?:really|though))?$"
    r"|^(?:so |and |but |or |well )?(?:am i|do i|have i|could i be|should i|might i|will i|would (?:i|it|this"
    r"|that)|do you think|is (?:it|this"
    r"|that)|could (?:it|this|that) be"
    r"|does (?:it|this|that) mean)\b.*\?"
)
_PAST = re.compile(
    r"(?<!as i )(?<!than i )(?<!as it )(?<!than it )(?<!what i )(?<!like i )\bused to\b|\bwhen (?:i|he|she|they"
    r"|(?:the|my) [\w']+) (?:was|were|lived|worked|studied|lost|had|did my)\b|\bi once\b|\bonce (?:felt|was|had)\b"
    r"|\bi(?:'d| had) (?:always )?(?:been|felt|had)\b|\bthere was a time\b|\bat one (?:time|point)\b|\bbefore that\b"
    r"|\bbefore (?:i|we|he|she|they) (?:met|moved|left|got|had|was|were|quit|married)\b"
    r"|\bas a (?:kid|child|teen\w*|student|boy|girl)\b|\bwhen we (?:were"
    r"|lived)\b"
    r"|\b(?:years?|months?|decades?) (?:ago|back)\b|\bin the past\b|\bback (?:then|in|when|at)\b|\bin (?:19"
    r"|20)\d\d\b|\blast (?:year|summer|winter|spring|autumn)\b"
    r"|\bin my (?:teens|twenties|thirties|early|late|first|last)\b|\b(?:at|in) (?:uni|university|college|school"
    r"|high school)\b|\bthe year (?:before|after|that)\b"
    r"|\bduring (?:the pandemic|lockdown|my|the divorce)\b|\bin those days\b|\bat (?:the|that) time\b"
    r"|\byears back\b|\bonce upon\b|\b(?:once|back) before\b"
)
_OVER = re.compile(
    r"(?<!later )(?<!until )(?<!till )(?<!when )(?<!once )(?<!then )(?<!time )(?<!before )(?<!it's )"
    r"\b(?:that's|it's|it is|that is|it was|all) (?:all |long )?(?:over|behind me|gone|in the past|history)\b"
    r"|\b(?:that|it)(?:'s| has)? passed\b"
    r"|\bgot over (?:it|that)\b|\bnot (?:any ?more|now)\b"
)
_RULED_OUT = re.compile(rf"\b(?:{_NEGATOR}|fine|well|healthy|normal|okay|ok|clear|clean|sober)\b")
_PRESENT = re.compile(
    r"\b(?:now|nowadays|still|again|since|lately|currently|(?<!was )(?<!were )always|today|tonight|these days"
    r"|any ?more|ever"
    r"|these (?:two|three|\w+) weeks)\b"
    r"|\b(?:i'm|am|is|are|do|does|has|have|can|keep|feel|isn't|aren't|don't|doesn't|hasn't|haven't|can't|i've)\b"
)
_BACK = re.compile(
    r"\b(?:was|were|had|did|didn't|couldn't|wasn't|weren't|hadn't|felt|slept|cried|lost|went|got|stopped|ate"
    r"|drank|spent|\w{3,}ed)\b"
)
_BEGAN = re.compile(r"\b(?:start\w*|beg[au]n|since|came back|set in|(?<!i'd )(?<!had )been)\b")
_NOW_AND_THEN = re.compile(
    r"\b(?:half (?:of )?the time|sometimes|now and (?:then|again)|some (?:days|nights)|once in a while|on and off"
    r"|occasionally|for a (?:moment|minute|second)|the odd (?:day|night)|once or twice|a (?:little|bit) (?:sad"
    r"|down|low)"
    r"|(?<!since )(?<!until )(?<!till )(?<!even )(?<!to )(?<!from )(?:tonight|today|this (?:evening|morning)|yesterday"
    r"|last night|once|the other (?:day|night|week)|on (?:mon|tues|wednes|thurs|fri|satur|sun)day))\b"
    r"|^then i (?:was|felt|just)\b"
)
_WHEN = re.compile(r"(?<!from )\bwhen(?:ever)? (?:i|he|she|they|we|it|my)\b")
_MOSTLY = re.compile(r"\b(?:every|most|all|always|constant\w*|never|daily|non-?stop|whole|morning till|any ?more)\b")
_EMPTY_WORDS = re.compile(
    r"(?:(?:i|i'm|i've|it|it's|its|life|life's|everything|everything's|things|things are|feel|feels|feeling|felt"
    r"|is|are|been|have|has|had|doing|going|just|so|really|pretty|very|a bit|all|honestly|am|have|quite|totally|like"
    r"|at the moment|right now|lately|these days|today) ?)*"
    r"(?:awful|terrible|bad|horrible|rubbish|crap|crappy|shit|shitty|off|rough|grim"
    r"|not (?:(?:doing|feeling|so|too|very|that|really|been) )*"
    r"(?:great|good|okay|ok|fine|well|myself|right|brilliant)|a mess|hard|difficult|tough|weird|stressed|stressful)"
    r"(?: (?:lately|today|at the moment|right now|these days|really|and all))*"
)
_AROUND_A_LABEL = """a actually again ago also an and apparently as at back
    bad basically be been being both by called clinical clinically condition
    chronic classic definitely diagnosed diagnosis disorder doctor every few for from full gave get got gp guess had has
    have having he her his history i i'm i've in is it it's just kind label like major me mild moderate month months my
    of officially on online or pretty probably psychiatrist proper questionnaire quiz really recurrent result said say
    says scale score scored serious severe severely she since so some sort suffer suffering suffers symptoms test
    textbook ages always forever long time that the therapist they think thinks to told too two three four five total
    type very was week weeks well
    whole with year years yes last month since when was school teens child kid four five six seven eight nine ten eleven
    twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty"""
_FRAME = frozenset(_AROUND_A_LABEL.split())
_WHENCE = re.compile(r"\bfrom (?:the |my |our |a )?[a-z]+")
_FINE = (
    r"(?:fine|okay|ok|normal(?:ly)?|well|good|great|all right|alright|like a (?:log|baby|rock)"
    r"|(?:not an?|no) (?:problem|issue|trouble)s?)"
)
_DEGREE = r"(?:(?:all|totally|perfectly|absolutely|really|just|pretty|quite|still|completely) )*"
_UNMOVED = r"(?:bother|scare|worry|upset|faze|trouble|frighten|affect)"
_NOT_FINE = re.compile(rf"\b(?:used to|until|before|was|were|if|as|pretend\w*|{_NEGATOR})\b")


@lru_cache(maxsize=4096)
def normal(text: str) -> str:
    """NFKC, lower case, straight quotation marks, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_MARKS).lower().split())


@dataclass(frozen=True)
class Clause:
    text: str
    start: int
    """Where it begins in the sentence."""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class Said:
    text: str
    """Normalised."""
    parts: tuple[Clause, ...]
    """What stands between commas and joining words; parts of one word only if there are no others."""
    before: Said | None = None
    """The sentence before it in the same turn."""

    @classmethod
    def of(cls, sentence: str, before: Said | None = None) -> Said:
        text = normal(sentence)
        parts: list[Clause] = []
        start = 0
        for end, following in [*((m.start(), m.end()) for m in _JOINTS.finditer(text)), (len(text), len(text))]:
            words = text[start:end]
            if words.strip():
                parts.append(Clause(words.strip(), start + len(words) - len(words.lstrip())))
            start = following
        return cls(text, tuple(part for part in parts if " " in part.text) or tuple(parts), before)

    @property
    def clauses(self) -> tuple[str, ...]:
        return tuple(part.text for part in self.parts)

    @property
    def answers(self) -> bool:
        """Whether it opens with a yes or no."""
        return _ANSWER.match(self.text) is not None

    @property
    def bare_answer(self) -> bool:
        """Whether it is a yes or no and nothing else."""
        return _BARE_ANSWER.fullmatch(re.sub(r"[ .!?,]+", " ", self.text).strip()) is not None

    def scope(self, words: Iterable[str], quote: str = "") -> tuple[Clause, ...]:
        """The clauses that a claim rests on: those that its quote touches, else those with its words, else all."""
        at = self.text.find(quote) if quote else -1
        if at >= 0:
            touched = tuple(p for p in self.parts if p.start < at + len(quote) and at < p.end)
            return touched or self.parts
        pattern = "|".join(map(re.escape, words))
        return tuple(p for p in self.parts if pattern and re.search(rf"\b(?:{pattern})", p.text)) or self.parts

    def negations(self, words: Iterable[str], clauses: Iterable[str]) -> list[bool]:
        """For each beginning of a word that occurs: whether a negator stands up to five words before it."""
        found = []
        for clause in clauses:
            text = _SAID_OF_SELF.sub(r"\1", _NOT_NEGATING.sub("...", clause))
            for word in words:
                at = [match.start() for match in re.finditer(rf"\b{re.escape(word)}", text)]
                found += [_NEGATED.search(text[:start]) is not None for start in at]
        return found

    def dismisses(self, words: Iterable[str], clauses: Iterable[str]) -> bool:
        """Whether every clause says that all is well with what a word names: "my sleep is fine"."""
        pattern = "|".join(re.escape(word) for word in words if word not in ("him", "her"))
        return bool(pattern) and all(_all_well(clause, pattern) for clause in clauses)

    def clipped(self, quote: str) -> bool:
        """Whether the quote leaves out a negator that stands up to five words before it in its clause."""
        at = self.text.find(quote) if quote else -1
        clause = next((part for part in self.parts if part.start <= at < part.end), None)
        if clause is None or re.match(rf"(?:{_SUBJECT}|my|it\S*) ", quote):
            return False
        before = _SAID_OF_SELF.sub(r"\1", _NOT_NEGATING.sub("...", self.text[clause.start : at]))
        return _NEGATED.search(before) is not None

    def only_label(self, labels: Sequence[str]) -> str:
        """The label (given by its beginning) when nothing but framing words stands around it; else empty.

        A sentence of framing words after such a sentence is a label too ("It's the textbook kind").
        """
        if not labels:
            return ""
        pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, labels))})[\w-]*")
        found = pattern.search(self.text)
        rest = re.findall(r"[a-z][a-z'-]+", _WHENCE.sub(" ", pattern.sub(" ", self.text)))
        if not _FRAME.issuperset(rest):
            return ""
        if found is None:
            return self.before.only_label(labels) if self.before else ""
        return found[0]

    def somebody_else(self, clauses: Iterable[Clause]) -> str:
        """The subject, when every clause is about somebody else, or what somebody else thinks; else empty."""
        if opinion := _OPINION.match(self.text):
            return opinion[0]
        subjects = self._subjects()
        found = [subjects[clause] for clause in clauses]
        return found[0] if found and all(found) else ""

    def _subjects(self) -> dict[Clause, str]:
        """Clause -> who it is about, empty for the client; one without a subject goes on with the one before."""
        subjects: dict[Clause, str] = {}
        subject = self._carried()
        for part in self.parts:
            somebody = _SOMEBODY.match(part.text)
            if _FIRST_PERSON.search(_LIKE_ME.sub(" ", part.text)):
                subject = ""
            elif somebody:
                subject = somebody[1]
            elif not (subject and (_FRAGMENT.match(part.text) or part is self.parts[0])):
                subject = ""
            subjects[part] = subject
        return subjects

    def _carried(self) -> str:
        """Who an opening "it's been" speaks of: the subject of the sentence before, if it is all about one."""
        if self.before is None or not _ANAPHOR.match(self.text) or _FIRST_PERSON.search(self.text):
            return ""
        return self.before.somebody_else(self.before.parts)

    def rules_out(self) -> bool:
        """Whether it says no to something, or that something is all right."""
        return _RULED_OUT.search(self.text) is not None

    def unsure(self) -> str:
        """The words by which it is asked, doubted or joked; else empty."""
        found = _UNSURE.search(self.text) or _JOKING.search(self.text)
        return found[0] if found else ""

    def supposed(self, clauses: Iterable[Clause], words: Sequence[str] = ()) -> bool:
        """Whether every clause is an if, a would or a fear of what may come."""
        text = _HARMLESS_IF.sub(lambda match: " " * len(match[0]), self.text)
        conditional = re.search(r"\b(?:if|unless)\b", text) is not None
        parts = [text[c.start : c.end] for c in clauses]
        return bool(parts) and all(
            (conditional and _SUPPOSED.search(part) is not None) or _feared(part, words) for part in parts
        )

    def over(self, clauses: Iterable[Clause]) -> str:
        """The words that put every clause in the past, when nothing says that it goes on; else empty."""
        frames = self._frames()
        found = [frames[clause] for clause in clauses]
        return found[0] if found and all(found) else ""

    def _frames(self) -> dict[Clause, str]:
        """Clause -> the words that put it in the past; they hold until a clause speaks of now."""
        frames: dict[Clause, str] = {}
        frame = self._past_before()
        for part in self.parts:
            found = _PAST.search(part.text)
            if _PRESENT.search(part.text) or (found and _BEGAN.search(part.text)):
                frame = ""
            elif found:
                frame = found[0]
            elif not _BACK.search(part.text):
                frame = frame if len(part.text.split()) <= 3 else ""
            frames[part] = frame
        if (over := _OVER.search(self.text)) and not re.search(r"\bstill\b", self.text):
            frames = {part: words or ("" if _PRESENT.search(part.text) else over[0]) for part, words in frames.items()}
        return frames

    def _past_before(self) -> str:
        if self.before is None or _PRESENT.search(self.text) or not _BACK.search(self.text):
            return ""
        return next(reversed(self.before._frames().values()), "")

    def passing(self, clauses: Iterable[Clause]) -> str:
        """The words by which every clause happens now and then, or in one situation; else empty."""
        if _MOSTLY.search(self.text):
            return ""
        texts = [clause.text for clause in clauses]
        opening = _NOW_AND_THEN.match(self.text)
        told = [match[0] for text in texts if (match := _NOW_AND_THEN.search(text))] or (
            [opening[0]] if opening else []
        )
        bound = [match[0] for text in texts if (match := _WHEN.search(text))]
        return told[0] if told else bound[0] if bound and len(bound) == len(texts) else ""

    def says_nothing(self, clauses: Iterable[Clause]) -> bool:
        """Whether it is distress in general: "I feel awful"."""
        return all(_EMPTY_WORDS.fullmatch(clause.text) for clause in clauses)


def _all_well(clause: str, words: str) -> bool:
    """Whether a clause says it of one of the words, given as an alternation of their beginnings."""
    fine = re.search(rf"\b(?:{words})[\w-]*(?:'s| is| are| has been| have been)? {_DEGREE}{_FINE}$", clause)
    if fine:
        return not _NOT_FINE.search(clause[: fine.start()])
    unmoved = (
        rf"\b(?:{words})[\w-]* (?:don't|doesn't|do not|does not|never)(?: \w+)? {_UNMOVED}s?\b"
        rf"|\b(?:{words})[\w-]* (?:hasn't|haven't|has not|have not) changed\b"
        rf"|\bi(?: do)? still (?:enjoy|love|like|look forward to|take pleasure in)\b"
        rf"|\b(?:{words})[\w-]* (?:has|have) never (?:crossed my mind|been an? (?:issue|problem))\b"
        rf"|\b(?:don't mind|no (?:problem|trouble|issue)s? (?:with|on|in)|(?:fine|okay|ok) (?:with|on|in|about))"
        rf" (?:[\w'-]+ ){{0,3}}(?:{words})"
    )
    return re.search(unmoved, clause) is not None


def _feared(part: str, words: Sequence[str]) -> bool:
    """Whether the part fears or supposes, and the claim's own words, if it has any here, come after that."""
    fear = _FEARED.search(part)
    at = [m.start() for word in words for m in re.finditer(rf"\b{re.escape(word)}", part)]
    return fear is not None and (not at or max(at) >= fear.start() + 2) and not (at and min(at) < fear.start())
