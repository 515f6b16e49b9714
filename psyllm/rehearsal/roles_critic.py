"""The critic by rule: of turns it accepts nearly all, sends back four in a hundred, rejects one, and checks nothing; as
second reader it holds an item when a cue of its criterion is in the sentence."""

from __future__ import annotations

import re
from typing import Any

from psyllm.rehearsal.request import Asked
from psyllm.rehearsal.words import Voice, data, hits, pattern, sentences

_REVISED, _REJECTED = 0.04, 0.01
_ITEM = re.compile(r"^(\d+) \| s(\d+) (?:(?:asserts|denies) (\S+): |tells (\w+) = )", re.MULTILINE)
_RAISED = re.compile(r"^(\w+): level \d, .*, from (.+)$", re.MULTILINE)


def client_critique(asked: Asked) -> dict[str, Any]:
    newest = asked.client[-1].text if asked.client else ""
    return _verdict(asked, newest)


def still_answers(asked: Asked) -> dict[str, Any]:
    """Words of thanks or a bare yes or no, put to somebody who asked nothing, do not answer; nearly all others do."""
    newest, last = asked.client[-1].text, asked.counsellor[-1].text
    bare = pattern(r"^(?:yes|yeah|no|nope|thank(?:s| you))\b").match(newest)
    if bare and "?" not in last:
        return {"why": f"Nobody asked for: {bare[0]}", "answers": False}
    return {"why": "It goes on from there.", "answers": True}


def reply_critique(asked: Asked) -> dict[str, Any]:
    rng = asked.rng
    verdict = _verdict(asked, asked.block("reply"))
    least = 3 if verdict["decision"] != "accept" else rng.choice((3, 4, 4))
    scores = {name: rng.randint(least, 5) for name in asked.node("scores").get("properties", {})}
    markers = asked.options("markers")
    return verdict | {
        "scores": scores,
        "markers": rng.sample(markers, min(len(markers), rng.randint(1, 4))),
        "anti": [],
    }


def evidence_check(asked: Asked) -> dict[str, Any]:
    said = dict(line for spoken in asked.client for line in spoken.lines)
    verdicts = []
    for number, cited, criterion, fact in _ITEM.findall(asked.block("items")):
        sentence = said.get(int(cited), "")
        holds = _cued(criterion, sentence) if criterion else _told(fact, sentence)
        why = f"It says: {sentence}" if holds else "Nothing in the sentence speaks of it."
        verdicts.append({"item": int(number), "why": why, "holds": holds})
    return {"verdicts": verdicts, "lowered": _jokes(asked)}


def _cued(criterion: str, sentence: str) -> bool:
    themes = data("cues")["themes"].values()
    return any(hits(sentence, theme["cues"]) for theme in themes if criterion in theme["criteria"])


def _told(fact: str, sentence: str) -> bool:
    cues = data("cues")
    listed = [cues["duration"]] if fact.startswith(("duration", "days_")) else cues["facts"].get(fact, [])
    return bool(hits(sentence.replace("half a year", "six months"), listed)) if listed else False


def _jokes(asked: Asked) -> list[dict[str, Any]]:
    said = dict(asked.client[-1].lines) if asked.client else {}
    joke = pattern("|".join(data("cues")["joke"]))
    return [
        {"domain": domain, "sentence": number, "kind": "dark_joke", "quote": said[number]}
        for domain, grounds in _RAISED.findall(asked.block("raised"))
        for number in map(int, re.findall(r"s(\d+)", grounds))
        if number in said and joke.search(said[number])
    ]


def _verdict(asked: Asked, text: str) -> dict[str, Any]:
    roll = asked.rng.random()
    voice = Voice(asked.rng)
    if roll >= _REVISED + _REJECTED:
        return {"decision": "accept", "reasons": [], "guidance": voice.say("keep")}
    repairs = data("phrases")["repair"]
    codes = asked.options("reasons", "code")
    known = [code for code in codes if code in repairs] or codes[:1]
    code = asked.rng.choice(known)
    quote = asked.rng.choice(sentences(text) or [""])
    decision = "revise" if roll < _REVISED else "reject"
    guidance = (
        repairs.get(code, repairs["other"]) if decision == "revise" else voice.say([data("phrases")["reject_guidance"]])
    )
    return {"decision": decision, "reasons": [{"code": code, "quote": quote}], "guidance": f"{guidance} Keep the rest."}
