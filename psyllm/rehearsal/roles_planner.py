"""The planner by rule: <post> -> a case whose profile is spoken in the first person, so that the patient can say it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from psyllm.rehearsal.request import Asked
from psyllm.rehearsal.words import Voice, capital, clauses, data, ended, hits, pattern, plain, sentences, suicide_level

_OWN_WORDS = 6
"""So many first-person words tell a life, even where no cue of distress is heard."""


def plan(asked: Asked) -> dict[str, Any]:
    cues = data("cues")
    post = "\n".join(line.removeprefix(">").strip() for line in asked.block("post").splitlines())
    orders = [sentence for sentence in sentences(post) if hits(sentence, cues["instructs"])]
    post = "\n".join(sentence for sentence in sentences(post) if sentence not in orders)
    themes, emotions, scene = _themes(post), _ranked(post, cues["emotions"]), _first(post, cues["scenes"], "daily_life")
    own = hits(post, [r"\b(?:i|i'm|i've|my|me)\b"])
    level = max(map(suicide_level, sentences(post)), default=0)
    told_at_length = own >= _OWN_WORDS and bool(_ranked(post, cues["scenes"]))
    distress = own > 0 and bool(themes or emotions or level or told_at_length)
    instructed = len(orders) * 4 >= len(orders) + len(sentences(post))

    voice = Voice(asked.rng)
    emotion = emotions[0] if emotions else "sadness"
    people = [match.lower() for match in pattern(cues["people"]).findall(post)]
    voice.slots = _slots(voice, people, _nouns(post))
    rng = asked.rng
    chosen, *others = _candidates(asked)
    shown = [theme.replace("_", " ") for theme in themes] or [emotion]
    theme, theme_two = shown[0], next((name for name in [*shown[1:], emotion] if name != shown[0]), "something unsaid")
    voice.slots |= {"theme": theme, "theme_two": theme_two, "modality": chosen.replace("_", " ")}
    bounds = asked.node("rounds")
    rounds = rng.randint(bounds.get("minItems", 2), max(bounds.get("minItems", 2), bounds.get("maxItems", 4)))
    turned_down = asked.node("rejected")
    rejected = rng.sample(others, min(len(others), turned_down.get("maxItems", 2), 1 + rng.randint(1, 2)))
    return {
        "suitable": distress and not instructed,
        "unsuitable_because": voice.say("unsuitable_instructs")
        if instructed
        else ("" if distress else voice.say("unsuitable_distress")),
        "emotion": {
            "primary": emotion,
            "secondary": emotions[1 : 1 + rng.randint(1, 3)],
            "intensity": min(10, 3 + len(themes) + min(level, 3) + rng.randint(0, 2)),
        },
        "presenting_problem": voice.say("presenting"),
        "scene": {"category": scene, "detail": voice.say("scene_detail")},
        "severity": ("minimal", "mild", "moderate", "severe")[min(3, (len(themes) + 1) // 2 + (level >= 2))],
        "rounds": _foci(voice, scene, rounds),
        "against_first": "",
        "chosen": chosen,
        "reasons": [voice.say("reason") for _ in range(rng.randint(1, 3))],
        "rejected": [{"id": other, "why": voice.say("reject")} for other in rejected],
        "profile": _profile(voice, post, themes, emotion, level, rounds),
    }


def _profile(voice: Voice, post: str, themes: list[str], emotion: str, level: int, rounds: int) -> dict[str, Any]:
    rng, tables, cues = voice.rng, data("phrases"), data("cues")
    if not themes:
        themes = rng.sample(cues["default_themes"], 2)
    told = clauses(post, least=4, most=9)[::2]  # never two neighbours: no long run of the post survives
    said = [
        ended(capital(voice.say("retold", clause=re.sub("^My", "my", clause))))
        for clause in rng.sample(told, min(len(told), 3))
    ]
    events: list[str] = []
    for theme in themes[:3]:
        events += voice.some(cues["themes"][theme]["events"], 2 if theme == themes[0] else 1)
    thoughts = [thought for theme in themes for thought in cues["themes"][theme]["thoughts"]]
    withheld = voice.some(tables["withheld"], rng.randint(1, 2))
    return {
        "history": " ".join([voice.say("history"), voice.say("turning"), *said]),
        "memories": rng.sample([*events[:4], voice.say("heard_said")], min(5, len(events) + 1)),
        "core_beliefs": voice.some(tables["beliefs"][emotion], rng.randint(1, 2)),
        "automatic_thoughts": rng.sample(thoughts, min(len(thoughts), rng.randint(1, 3))),
        "coping": voice.some(tables["coping"], rng.randint(2, 3)),
        "disclosure": voice.say("disclosure"),
        "resistance": voice.say("resistance"),
        "builds_trust": voice.say("builds_trust"),
        "safety": voice.say(tables["safety"][str(level)]),
        "withheld": [
            {"from_round": rng.randint(min(2, rounds), rounds) if n else max(2, rounds - 1), "what": what}
            for n, what in enumerate(withheld)
        ],
    }


def _slots(voice: Voice, people: list[str], nouns: list[str]) -> dict[str, str]:
    """What stays the same over a whole case: a person, an age, the thing it turns about."""
    person = "my " + voice.rng.choice(people) if people else voice.say("person")
    noun = voice.rng.choice(nouns[:3]) if nouns else "the evenings"
    noun = noun if noun.startswith("the ") else f"the {noun}"
    return {
        "person": person,
        "person_cap": capital(person),
        "their": "their",
        "noun": noun,
        "noun_cap": capital(noun),
        "span": voice.say("span"),
    }


def _foci(voice: Voice, scene: str, rounds: int) -> list[str]:
    foci = data("phrases")["foci"]
    more = foci["friendlessness" if scene == "daily_life" else "daily_life"]
    first = voice.some(foci[scene], rounds)
    return [*first, *voice.some(more, rounds - len(first))]


def _themes(post: str) -> list[str]:
    heard = {name: hits(post, theme["cues"] + theme.get("post", [])) for name, theme in data("cues")["themes"].items()}
    return sorted((name for name, count in heard.items() if count), key=lambda name: -heard[name])


def _ranked(post: str, table: dict[str, list[str]]) -> list[str]:
    found = {name: hits(post, listed) for name, listed in table.items()}
    return sorted((name for name, count in found.items() if count), key=lambda name: -found[name])


def _candidates(asked: Asked) -> list[str]:
    """The enum's values, in the order in which the task lists them."""
    ids = asked.options("chosen") or ["any"]
    one = rf"\b(?:{'|'.join(map(re.escape, ids))})\b"
    task = asked.user.rpartition("</post>")[2]
    listed = re.search(rf"{one}(?:\W+{one}){{{len(ids) - 1}}}", task)
    return re.findall(one, listed[0]) if listed else ids


def _first(post: str, table: dict[str, list[str]], fallback: str) -> str:
    ranked = _ranked(post, table)
    return ranked[0] if ranked else fallback


def _nouns(post: str) -> list[str]:
    """Nouns of the post, most frequent first."""
    unfit, skipped = pattern(data("cues")["unfit"]), set(data("cues")["not_nouns"])
    found = [noun for noun in pattern(data("cues")["nouns"]).findall(plain(post)) if noun not in skipped]
    found = [noun for noun in found if not unfit.search(noun) and not re.search(r"(?:ly|ing|ed|est)$", noun)]
    return [noun for noun, _ in Counter(found).most_common()]
