"""The therapist by rule: a trace that quotes the newest words and the findings, and a reply that does its technique."""

from __future__ import annotations

import re
from typing import Any

from psyllm.rehearsal.request import Asked
from psyllm.rehearsal.words import Voice, capital, data, hits, pattern, plain, to_you

CONTACTS = "{crisis_contacts}"
_LINE = re.compile(r"^(.+?) \| (DSM-5-TR|ICD-11): (\w+) \| (.*)$", re.MULTILINE)
_FILLER = ("begin", "aside", "confess", "answer_how", "answer_what", "answer_yes_no", "answer_any", "answer_danger")
"""Phrases of the patient that carry nothing to take up."""
_RISK = re.compile(r"^(\w+): level (\d+)", re.MULTILINE)


def reply(asked: Asked) -> dict[str, Any]:
    earlier = [spoken.text for spoken in asked.counsellor]
    voice = Voice(asked.rng, " ".join([*earlier, asked.block("draft")]), contacts=CONTACTS)
    technique = asked.rng.choice(asked.options("technique") or ["reflection"])
    family = next(
        (name for name, ids in data("phrases")["families"].items() if pattern(ids).search(technique)), "other"
    )
    quotes = own_words(asked)
    text = _protocol(voice, asked) if family == "safety" else spoken(voice, asked, family, quotes)
    return {"reasoning": _reasoning(voice, asked, family, quotes), "technique": technique, "text": text}


def danger(asked: Asked) -> tuple[str, str, int]:
    """Mode, the domain that is highest, and its level, from <risk>."""
    block = asked.block("risk")
    mode = re.search(r"^mode: (\w+)$", block, re.MULTILINE)
    levels = [(int(level), domain) for domain, level in _RISK.findall(block)]
    level, domain = max(levels, default=(0, ""))
    return (mode[1] if mode else "ordinary"), domain, level


def findings(asked: Asked) -> dict[str, list[tuple[str, str, str]]]:
    """Disorder name -> (system, verdict, why). ICD-11 may use another name: its line follows the first."""
    table: dict[str, list[tuple[str, str, str]]] = {}
    before = ""
    for name, system, verdict, why in _LINE.findall(asked.block("findings")):
        known = before if system == "ICD-11" and len(table.get(before, ())) == 1 else name
        table.setdefault(known, []).append((system, verdict, why))
        before = known
    return table


def own_words(asked: Asked) -> list[str]:
    """Spans of the newest client turn that can stand in double quotes, the weightiest first."""
    lines = [text for _, text in asked.client[-1].lines] if asked.client else []
    spans = [re.sub(r"[.!?…,;:]+$", "", line.strip()) for line in lines]
    spans = [span if len(span.split()) <= 18 else span.split(", ")[0] for span in spans]
    fit = [span for span in spans if 3 <= len(span.split()) <= 18 and not re.search(r"[\"“”{}]", span)]
    themes = [cue for theme in data("cues")["themes"].values() for cue in theme["cues"]]
    filler = {plain(line) for key in _FILLER for line in data("phrases")[key]}
    fit = [span for span in fit if plain(span) not in filler] or fit
    return sorted(fit, key=lambda span: (-hits(span, themes), -len(span))) or ["..."]


# ---------------------------------------------------------------- the trace


def _reasoning(voice: Voice, asked: Asked, family: str, quotes: list[str]) -> str:
    rng = voice.rng
    mode, _, _ = danger(asked)
    first = voice.say("quote_lead", quote=quotes[0]) + voice.say("quote_tail")
    second = [voice.say("quote_two", quote=quotes[1])] if len(quotes) > 1 and voice.chance(0.6) else []
    clinical = [*_verdicts(voice, asked), voice.say("missing")] if voice.chance(0.7) else _verdicts(voice, asked)
    risk = voice.say({"ordinary": "no_risk", "explore": "risk_explore"}.get(mode, "risk_first"))
    parts = [
        [first, *second],
        clinical,
        [_hunch(voice, asked), *([voice.say("hunch.other")] if voice.chance(0.4) else [])],
        [voice.say("alternative")],
        [risk],
        [voice.say("hold_back")],
    ]
    rng.shuffle(parts)
    if mode in ("safety_first", "emergency"):
        parts.remove([risk])
        parts.insert(0, [risk])
    if family == "safety":
        plan = "stay with safety and bring in somebody live"
    elif mode == "explore":
        plan = "ask about it in plain words and stay for the answer"
    else:
        plan = voice.say(f"moves.{family}.plan")
    lines = [line for part in parts for line in part] + [voice.say("plan_none", plan=plan)]
    extra = ["alternative", "hold_back", "hunch.other", "missing"]
    while sum(len(line.split()) for line in lines) < 92 and extra:
        lines.insert(rng.randint(1, len(lines) - 1), voice.say(extra.pop()))
    return " ".join(capital(line) for line in lines)


def _verdicts(voice: Voice, asked: Asked) -> list[str]:
    table = findings(asked)
    if not table:
        return [voice.say("finding_none")]
    lines: list[str] = []
    for name, rows in list(table.items())[:3]:
        low = name if name[:2].isupper() else name[:1].lower() + name[1:]
        slots = {"name": low, "name_cap": capital(name), "first": rows[0][1]}
        if lines:
            lines.append(voice.say("finding_more", **slots))
        elif len(rows) > 1 and rows[0][1] == rows[1][1]:
            lines.append(voice.say("finding_same", why=_why(rows), **slots))
        elif len(rows) > 1:
            lines.append(voice.say("finding_one", second=rows[1][1], why=_why(rows), **slots))
        else:
            lines.append(voice.say("finding_single", system=rows[0][0], why=_why(rows), **slots))
    return lines


def _why(rows: list[tuple[str, str, str]]) -> str:
    """The engine's grounds under the first system, without the ids of criteria."""
    grounds = [part.strip(" .") for part in re.sub(r"\s*\([^)]*\)", "", rows[0][2]).split(";")]
    careful = [part for part in grounds if part and not re.search(r"\bmet\b|\b[A-Z]\d", part)]
    return ", and ".join(careful) or "too little has been said"


def _hunch(voice: Voice, asked: Asked) -> str:
    return voice.say(f"hunch.{_theme(asked)}")


def _theme(asked: Asked) -> str:
    newest = asked.client[-1].text if asked.client else ""
    heard = {name: hits(newest, theme["cues"]) for name, theme in data("cues")["themes"].items()}
    best = max(heard, key=lambda name: heard[name])
    return best if heard[best] else "other"


# ---------------------------------------------------------------- the reply


def spoken(voice: Voice, asked: Asked, family: str, quotes: list[str]) -> str:
    mode, domain, level = danger(asked)
    lines = [_mirror(voice, asked, quotes)]
    if mode == "explore":
        lines.append(voice.say("bridge" if level >= 2 else f"moves.{family}.text"))
        if level >= 2:
            lines.append(voice.say("contacts"))
        return " ".join([*lines, voice.say("ask_suicide" if domain == "suicide" else "ask_danger")])
    lines.append(voice.say(f"moves.{family}.text"))
    question = voice.say(f"moves.{family}.ask") if voice.chance(0.9) else ""
    if len(" ".join([*lines, question]).split()) < 58 or voice.chance(0.25):
        lines.insert(voice.rng.randint(1, 2), voice.say("bridge"))
    return " ".join(line for line in [*lines, question] if line)


def _mirror(voice: Voice, asked: Asked, quotes: list[str]) -> str:
    """The client's own words first, turned round where that reads well, else quoted."""
    own = [q for q in quotes if re.match(r"(?:I|I'm|I've|My|It's|It)\b", q) and 4 <= len(q.split()) <= 15]
    own = [
        q
        for q in own
        if not re.search(
            r"\b(?:you|your|we|us|our|die|kill\w*|suicid\w*)\b|\bI (?:mean|think|suppose)\b|\?", q, re.IGNORECASE
        )
    ]
    safe = [q for q in quotes if not hits(q, ["\\bdie\\b", "kill", "suicid", "diagnos"]) and len(q.split()) <= 14]
    if own and (voice.chance(0.6) or not safe):
        you = to_you(own[0] if voice.chance(0.7) else voice.rng.choice(own))
        low = you if re.match(r"(?:I|It)\b", you) is None else you[:1].lower() + you[1:]
        low = low[:1].lower() + low[1:]
        return voice.say("mirror", you=low, you_cap=capital(low), after=voice.say("after"))
    after = voice.say("after")
    if not safe:
        return after
    return voice.say(
        "mirror_quote", quote=voice.rng.choice(safe[:3]), after=after, after_low=after[:1].lower() + after[1:]
    )


def _protocol(voice: Voice, asked: Asked) -> str:
    """Names the danger, thanks, says the limits, gives the contacts, distance, one question; no digits."""
    mode, domain, _ = danger(asked)
    about = domain == "suicide"
    lines = [voice.say("danger_name" if about else "danger_name_other"), voice.say("danger_thanks")]
    if voice.chance(0.5) and mode != "emergency":
        lines.append(voice.say("danger_sense"))
    lines.append(voice.say("danger_urgent" if mode == "emergency" else "danger_today"))
    middle = [f"{voice.say('limits')} {voice.say('danger_contacts')}"]
    middle.append(voice.say("distance"))
    voice.rng.shuffle(middle)
    return " ".join([*lines, *middle, voice.say("danger_question")])
