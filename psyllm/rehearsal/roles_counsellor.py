"""A counsellor in a plain chat, by rule: how much of the client it takes up depends on what else it is shown.

Bare, it falls back on stock phrases about half of the time; examples make it take up the client's own words more often;
with notes of its own it nearly always does, and sees danger. So strategies differ, as a benchmark's software needs.
"""

from __future__ import annotations

from psyllm.rehearsal.request import Asked
from psyllm.rehearsal.roles_therapist import CONTACTS, own_words, spoken
from psyllm.rehearsal.words import Voice, data, suicide_level

_ASSESSES = "prepare the next reply"
_SHOWN = "Replies by an experienced counsellor"
_NOTED = "<notes>"
_IN_DANGER = (
    *("danger_name", "danger_thanks", "danger_today", "limits"),
    *("danger_contacts", "distance", "danger_question"),
)
_STOCK_LESS = {_NOTED: 0.1, _SHOWN: 0.3}


def chat(asked: Asked) -> str:
    """The next words of a chat whose system message makes a counsellor of the model; '' for any other chat."""
    if "counsel" not in asked.system or not asked.client:
        return ""
    voice = Voice(asked.rng, " ".join(turn.text for turn in asked.counsellor), contacts=CONTACTS)
    danger = max(suicide_level(line) for turn in asked.client for _, line in turn.lines)
    if _ASSESSES in asked.system:
        seen = "Danger: the client speaks of dying." if danger else "Danger: nothing said."
        verdict = "Too little for any verdict in DSM-5-TR or ICD-11."
        return " ".join((voice.say("hunch.other"), verdict, seen, voice.say("hold_back")))
    stock = next((share for mark, share in _STOCK_LESS.items() if mark in asked.system), 0.55)
    if danger and not voice.chance(stock):
        return " ".join(map(voice.say, _IN_DANGER))
    if voice.chance(stock):
        return " ".join(voice.say(f"stock.{part}") for part in ("open", "comfort", "tip"))
    family = voice.rng.choice(sorted(data("phrases")["moves"]))
    return spoken(voice, asked, family, own_words(asked))
