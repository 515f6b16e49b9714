"""The diagnostician by rule: cue words of the newest client sentences -> criteria, facts and risk of the enums."""

from __future__ import annotations

from typing import Any

from psyllm.rehearsal.request import Asked
from psyllm.rehearsal.words import Voice, data, hits, pattern, suicide_level

_SKIPPED = 0.25
"""Share of heard sentences that are left alone: a few items, often none."""


def diagnosis(asked: Asked) -> dict[str, Any]:
    cues = data("cues")
    talk = [line for spoken in asked.client for line in spoken.lines]
    new = asked.client[-1].lines if asked.client else ()
    offered = asked.options("evidence", "criterion")
    leading = _leading(" ".join(text for _, text in talk), offered)
    evidence: list[dict[str, Any]] = []
    for number, text in new:
        found = _criterion(text, leading)
        if found in offered and asked.rng.random() > _SKIPPED and not pattern(cues["elsewhere"]).search(text):
            polarity = "denies" if hits(text, cues["denies"]) else "asserts"
            evidence.append({"criterion": found, "sentence": number, "polarity": polarity})
    about = evidence[0]["criterion"].split(".")[0] if evidence else (leading[0] if leading else "")
    risk = _suicide(talk)
    domain = next((name for name in asked.options("risks", "domain") if "suicid" in name), "")
    count = asked.rng.choice((0, 1, 1, 2))
    return {
        "evidence": evidence[:4],
        "facts": [fact for fact in _facts(asked, new, about) if fact["disorder"]][:3],
        "risks": [{"domain": domain, "level": risk[0], "sentences": risk[1][:6]}] if domain and risk[0] else [],
        "questions": Voice(asked.rng).some(data("phrases")["question"], count),
    }


def _suicide(lines: list[tuple[int, str]]) -> tuple[int, list[int]]:
    """The highest level that a sentence's words reach, and the sentences that reach it."""
    graded = [(suicide_level(text), number) for number, text in lines]
    top = max((level for level, _ in graded), default=0)
    return top, [number for level, number in graded if level == top]


def _leading(text: str, offered: list[str]) -> list[str]:
    """Disorders in the order in which the whole talk points at them."""
    points: dict[str, int] = {}
    for theme in data("cues")["themes"].values():
        for rank, criterion in enumerate(theme["criteria"]):
            if criterion in offered and hits(text, theme["cues"]):
                disorder = criterion.split(".")[0]
                points[disorder] = points.get(disorder, 0) + (2 if rank == 0 else 1)
    trauma = hits(text, data("cues")["themes"]["what_happened"]["cues"])
    return sorted((d for d in points if d != "ptsd" or trauma), key=lambda d: -points[d])


def _criterion(text: str, leading: list[str]) -> str:
    """The criterion of the theme that a sentence touches most, for the disorder that leads."""
    themes = sorted(data("cues")["themes"].values(), key=lambda theme: -hits(text, theme["cues"]))
    if not hits(text, themes[0]["cues"]):
        return ""
    listed = themes[0]["criteria"]
    return next((c for disorder in leading for c in listed if c.startswith(disorder + ".")), "")


def _facts(asked: Asked, new: tuple[tuple[int, str], ...], disorder: str) -> list[dict[str, Any]]:
    cues, names = data("cues"), asked.options("facts", "fact")
    disorder = disorder if disorder in asked.options("facts", "disorder") else ""
    facts: list[dict[str, Any]] = []
    for number, text in new:
        if "duration_days" in names and (
            match := pattern(cues["duration"]).search(text.replace("half a year", "six months"))
        ):
            count = cues["numbers"].get(match[1].lower()) or float(match[1])
            days = float(count * cues["days"][match[2].lower()])
            facts.append({"fact": "duration_days", "value": days, "sentence": number, "disorder": disorder})
        for name, listed in cues["facts"].items():
            if name in names and hits(text, listed):
                facts.append({"fact": name, "value": True, "sentence": number, "disorder": disorder})
    return facts
