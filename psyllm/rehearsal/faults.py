"""Plants the faults of faults.yaml: each takes the request and a sound answer, and returns the spoilt answer, or None
where the request gives no occasion for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from psyllm.rehearsal.request import Asked
from psyllm.rehearsal.roles_therapist import CONTACTS, danger, findings
from psyllm.rehearsal.words import data, sentences

Answer = dict[str, Any]
_ROLES = {"plan": "planner", "patient_turn": "patient", "diagnosis": "diagnostician", "reply": "therapist"}
_LABEL = "Major depressive disorder"


def plant(asked: Asked, answer: Answer, rate: float) -> tuple[Answer, list[str]]:
    """The answer, spoilt in `rate` of all answers, and the ids of what was planted."""
    if asked.corrected or asked.block("revise") or asked.rng.random() >= rate:
        return answer, []
    role = _ROLES.get(asked.name, "critic")
    ids = [name for name, fault in data("faults").items() if fault["role"] in (role, "any")]
    for name in asked.rng.sample(ids, len(ids)):
        spoilt = _FAULTS[name](asked, dict(answer))
        if spoilt is not None:
            return spoilt, [name]
    return answer, []


def malformed(asked: Asked, answer: Answer) -> str:
    """The answer as text that does not parse, or that lacks its last field."""
    text = json.dumps(answer, ensure_ascii=False)
    return text[: int(len(text) * 0.7)] if asked.rng.random() < 0.5 else json.dumps(dict([*answer.items()][:-1]))


def _copied_post(asked: Asked, answer: Answer) -> Answer | None:
    post = " ".join(line.removeprefix(">").strip() for line in asked.block("post").splitlines())
    words = post.split()
    if len(words) < 24:
        return None
    start = asked.rng.randint(0, len(words) - 24)
    copied = " ".join(words[start : start + 24])
    return answer | {"profile": answer["profile"] | {"history": copied}}


def _labelled_profile(asked: Asked, answer: Answer) -> Answer:
    history = f"{_LABEL} with generalised anxiety disorder. Meets criteria A1, A4 and A6."
    return answer | {"profile": answer["profile"] | {"history": history}}


def _early_disclosure(asked: Asked, answer: Answer) -> Answer | None:
    profile = asked.client_profile()
    later = [item["what"] for item in profile.get("withheld", []) if int(item["from_round"]) > len(asked.client) + 1]
    return answer | {"sentences": [*answer["sentences"][:6], asked.rng.choice(later)]} if later else None


def _therapist_speak(asked: Asked, answer: Answer) -> Answer:
    jargon = "I want to process my triggers and set healthy boundaries, because my coping strategies aren't working."
    return answer | {"sentences": [*answer["sentences"][:6], jargon]}


def _evidence_overclaimed(asked: Asked, answer: Answer) -> Answer | None:
    offered = asked.options("evidence", "criterion")
    if not asked.client or not offered:
        return None
    lines = asked.client[-1].lines
    cited = {item["sentence"] for item in answer["evidence"]}
    bare = [number for number, text in lines if number not in cited and len(text.split()) <= 6]
    number = asked.rng.choice([*bare, lines[-1][0] + 40])
    claim = {"criterion": asked.rng.choice(offered), "sentence": number, "polarity": "asserts"}
    return answer | {"evidence": [*answer["evidence"][:7], claim]}


def _wrong_disagreement(asked: Asked, answer: Answer) -> Answer | None:
    held = [verdict for verdict in answer.get("verdicts", ()) if verdict["holds"]]
    if not held:
        return None
    refused = asked.rng.choice(held)
    verdict = refused | {"why": "Too vague to count.", "holds": False}
    return answer | {"verdicts": [verdict if v is refused else v for v in answer["verdicts"]]}


def _groundless_lowering(asked: Asked, answer: Answer) -> Answer | None:
    domains = asked.options("lowered", "domain")
    if not asked.block("raised") or not domains or not asked.client:
        return None
    number = asked.client[-1].lines[-1][0]
    quote = "I was only kidding about all of that, honestly"
    lowered = {"domain": domains[0], "sentence": number, "kind": "dark_joke", "quote": quote}
    return answer | {"lowered": [lowered]}


def _in_trace(line: str) -> Callable[[Asked, Answer], Answer]:
    def spoil(asked: Asked, answer: Answer) -> Answer:
        parts = sentences(answer["reasoning"])
        parts.insert(asked.rng.randint(1, len(parts)), line)
        return answer | {"reasoning": " ".join(parts)}

    return spoil


def _overclaimed(asked: Asked, answer: Answer) -> Answer | None:
    held = findings(asked)
    open_names = [name for name, rows in held.items() if all(verdict != "met" for _, verdict, _ in rows)]
    if held and not open_names:
        return None
    name = open_names[0] if open_names else _LABEL
    return _in_trace(f"The client clearly has {name}; the criteria are met.")(asked, answer)


def _ordinary(line: str, *, front: bool) -> Callable[[Asked, Answer], Answer | None]:
    """Adds a line to the reply, never where danger is at hand."""

    def spoil(asked: Asked, answer: Answer) -> Answer | None:
        if danger(asked)[0] in ("safety_first", "emergency"):
            return None
        text = f"{line} {answer['text']}" if front else f"{answer['text']} {line}"
        return answer | {"text": text}

    return spoil


def _missing_contact(asked: Asked, answer: Answer) -> Answer | None:
    if CONTACTS not in answer["text"]:
        return None
    kept = [sentence for sentence in sentences(answer["text"]) if CONTACTS not in sentence]
    return answer | {"text": " ".join(kept)}


def _label_in_reply(asked: Asked, answer: Answer) -> Answer | None:
    name = next(iter(findings(asked)), _LABEL)
    return _ordinary(f"What you describe may well be {name}.", front=False)(asked, answer)


_FAULTS: dict[str, Callable[[Asked, Answer], Answer | None]] = {
    "malformed_reply": lambda _, answer: answer,  # its text is spoilt by malformed()
    "copied_post": _copied_post,
    "labelled_profile": _labelled_profile,
    "early_disclosure": _early_disclosure,
    "therapist_speak": _therapist_speak,
    "evidence_overclaimed": _evidence_overclaimed,
    "invented_quote": _in_trace(
        'Earlier it was put as "nobody in that house ever asked me what I wanted", and I believe it.'
    ),
    "overclaimed_verdict": _overclaimed,
    "label_in_reply": _label_in_reply,
    "locked_technique": lambda _, answer: answer | {"technique": "imaginal_exposure_two_chairs"},
    "instruction_leak": _in_trace("I must keep the reply under the word limit and avoid clinical terms as instructed."),
    "question_run": _ordinary("How long has it been? Who knows? What have you tried? Does it help?", front=False),
    "stock_opening": _ordinary("It sounds like you are going through a lot right now.", front=True),
    "self_claim": _ordinary("I've been there myself, when I was your age.", front=True),
    "advice_pile_up": _ordinary(
        "You could try to go for a walk, you could keep a diary, you might talk to a friend, and sleep more.",
        front=False,
    ),
    "invented_contact": lambda _, answer: answer | {"text": f"{answer['text']} Call the Open Line on 0800 555 0199."},
    "missing_contact": _missing_contact,
    "wrong_disagreement": _wrong_disagreement,
    "groundless_lowering": _groundless_lowering,
}
