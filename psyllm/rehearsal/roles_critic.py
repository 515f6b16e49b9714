"""The critic by rule: accepts nearly all, sends back four in a hundred, rejects one. It checks nothing."""

from __future__ import annotations

from typing import Any

from psyllm.rehearsal.request import Asked
from psyllm.rehearsal.words import Voice, data, sentences

_REVISED, _REJECTED = 0.04, 0.01


def client_critique(asked: Asked) -> dict[str, Any]:
    newest = asked.client[-1].text if asked.client else ""
    return _verdict(asked, newest)


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
