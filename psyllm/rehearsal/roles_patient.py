"""The patient by rule: a few uneven sentences from <client>, some of them an answer to the counsellor's last words."""

from __future__ import annotations

import random
from typing import Any

from psyllm.rehearsal.request import Asked
from psyllm.rehearsal.words import Voice, capital, data, ended, hits, pattern, plain, sentences, suicide_level

_QUESTIONS = ("how", "what", "when", "who")


def patient_turn(asked: Asked) -> dict[str, Any]:
    profile: dict[str, Any] = asked.client_profile()
    heard = [spoken.text for spoken in asked.client]
    draft = asked.block("draft")
    this_round = len(heard) + 1
    rng = asked.rng
    person = next(iter(pattern(data("cues")["people"]).findall(asked.block("client"))), "sister")
    voice = Voice(rng, " ".join([*heard, draft]), person=f"my {person}", person_cap=f"My {person}")
    last = asked.counsellor[-1].text if asked.counsellor else ""
    told = [plain(line) for spoken in asked.client for _, line in spoken.lines]
    said = [*told, *map(plain, draft.splitlines())]

    opening = [voice.say("begin")] if not last and voice.chance(0.7) else []
    opening += _answer(voice, last, profile) if last and voice.chance(0.9) else []
    core = [*_focus(voice, profile, this_round), *_own(voice, profile, said, rng)]
    danger = _danger(profile, told, this_round, rng)
    rng.shuffle(core)
    if confession := _confession(voice, profile, said, this_round):
        core = [*core[: rng.randint(0, 1)], *confession]
    else:
        core = core[: rng.choice((1, 2, 2, 3, 3, 4))] or [voice.say("aside")]
    if danger:
        core.insert(rng.randint(0, len(core)), danger)
    lines = [*opening, *core, *([voice.say("aside")] if voice.chance(0.45) else [])]
    ends = this_round > 2 and not danger and voice.chance(0.06)
    if ends:
        lines.append(voice.say("goodbye"))
    spoken = [sentence for line in lines for sentence in sentences(line)]
    new = [sentence for sentence in dict.fromkeys(spoken) if plain(sentence) not in said or sentence in danger]
    return {"sentences": new[:8] or [voice.say("aside")], "ends": ends}


def _answer(voice: Voice, last: str, profile: dict[str, Any]) -> list[str]:
    """An answer, often to only a part, to the kind of question that the counsellor asked."""
    question = next((s for s in reversed(sentences(last)) if s.endswith("?")), "")
    if hits(question, ["kill", "suicid", "\\bdying\\b"]):
        return [voice.say("answer_danger" if _level(profile) else "answer_not_danger")]
    words = plain(question).split()
    kind = next((word for word in words if word in _QUESTIONS), "yes_no" if question else "any")
    answers = [voice.say(f"answer_{kind}")]
    if voice.chance(0.35):
        answers.insert(voice.rng.randint(0, 1), voice.say("answer_any"))
    return answers


def _focus(voice: Voice, profile: dict[str, Any], this_round: int) -> list[str]:
    on_mind = profile.get("on_my_mind", {})
    focus = on_mind.get(this_round) or on_mind.get(len(on_mind), "")
    return [voice.say("first_focus" if this_round == 1 else "later_focus", focus=focus)] if focus else []


def _own(voice: Voice, profile: dict[str, Any], said: list[str], rng: random.Random) -> list[str]:
    """What this person has not said yet, in a mixed order: moments first, then thoughts, then the rest."""
    moments = [event + voice.say("memory_tail") for event in profile.get("memories", [])]
    past = sentences(profile.get("history", ""))[1 if said else 0 :]
    thoughts = [voice.say("thought", thought=t[:1].lower() + t[1:]) for t in profile.get("automatic_thoughts", [])]
    beliefs = [voice.say("belief", belief=b[:1].lower() + b[1:]) for b in profile.get("core_beliefs", [])]
    copes = [voice.say("cope", coping=ended(c).rstrip(".")) for c in profile.get("coping", [])]
    fresh = [
        [line for line in lines if not any(_same(line, old) for old in said)]
        for lines in (moments, past, thoughts + beliefs, copes)
    ]
    for lines in fresh:
        rng.shuffle(lines)
    first, *rest = fresh
    others = [lines[0] for lines in rest if lines and rng.random() < 0.6]
    return [_upright(line) for line in [*first[: rng.randint(1, 2)], *others]]


def _confession(voice: Voice, profile: dict[str, Any], said: list[str], this_round: int) -> list[str]:
    """A withheld thing whose round has come."""
    open_now = [item["what"] for item in profile.get("withheld", []) if int(item["from_round"]) <= this_round]
    untold = [what for what in open_now if plain(what) not in said]
    return [voice.say("confess"), untold[0]] if untold and voice.chance(0.75) else []


def _danger(profile: dict[str, Any], told: list[str], this_round: int, rng: random.Random) -> str:
    """What is true about danger to self, said once, by the second round at the latest; '' otherwise."""
    words = str(profile.get("safety", ""))
    if not _level(profile) or any(plain(sentences(words)[0]) in line for line in told):
        return ""
    return words if this_round >= 2 or rng.random() < 0.6 else ""


def _level(profile: dict[str, Any]) -> int:
    return max(map(suicide_level, sentences(str(profile.get("safety", "")))), default=0)


def _same(line: str, old: str) -> bool:
    """Whether an earlier sentence says this already, in whatever frame it was put."""
    words, before = set(plain(line).split()), set(old.split())
    return len(words & before) >= 0.7 * min(len(words), len(before)) and len(before) > 3


def _upright(line: str) -> str:
    return capital(line.replace(", i ", ", I ").replace(", i'", ", I'"))
