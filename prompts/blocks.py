"""Data in prompts: the tagged blocks that templates place with {{ variables }}.

Their shape is fixed here, in code, whatever a prompt file says around them: an untrusted post is quoted line
by line, the client's sentences carry their numbers, and the transcript only ever grows at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import yaml

from psyllm.records import ClientProfile, Finding, Mode, Post, Risk, RoundPlan, Turn

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
SYSTEM_NAMES = {"dsm5tr": "DSM-5-TR", "icd11": "ICD-11"}


def post_block(post: Post) -> str:
    """The post as quoted data: every line starts with '> ', so nothing in it can close the block."""
    lines = [*([post.title, ""] if post.title else []), *post.text.splitlines()]
    return "<post>\n" + "\n".join(f"> {line}" for line in lines) + "\n</post>"


@lru_cache(maxsize=1024)
def client_block(profile: ClientProfile, rounds: tuple[RoundPlan, ...]) -> str:
    """The hidden client, and what is on their mind round by round, as YAML."""
    data = profile.model_dump(mode="json")
    data["on_my_mind"] = {n: plan.focus for n, plan in enumerate(rounds, 1)}
    text: str = yaml.dump(data, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=10_000)
    return f"<client>\n{text}</client>"


def transcript(turns: Iterable[Turn], *, numbered: bool) -> tuple[str, ...]:
    """The spoken words, one part a speaker and turn. `numbered` shows the client's sentence numbers as [s3]."""
    parts = ["<transcript>"]
    for turn in turns:
        words = (f"[s{s.n}] {s.text}" if numbered else s.text for s in turn.client)
        parts.append("Client:\n" + "\n".join(words))
        if turn.reply is not None:
            parts.append("Counsellor:\n" + turn.reply.text)
    return tuple(parts)


TRANSCRIPT_END = "</transcript>"


def items_block(items: Sequence[str]) -> str:
    """What the second reader decides on: one numbered line an item."""
    return "<items>\n" + "\n".join(f"{n} | {item}" for n, item in enumerate(items, 1)) + "\n</items>"


def raised_block(risks: Sequence[tuple[Risk, str]]) -> str:
    """Dangers whose level rose in this turn, each with the name of its level."""
    lines = [f"{risk.domain}: level {risk.level}, {name}, from {_grounds(risk)}" for risk, name in risks]
    return "<raised>\n" + "\n".join(lines) + "\n</raised>"


def _grounds(risk: Risk) -> str:
    return ", ".join(f"s{n}" for n in risk.sentences) or "nothing"


def findings_block(findings: Sequence[Finding]) -> str:
    """The engine's verdicts: one line a disorder and system."""
    lines = [f"{f.name} | {SYSTEM_NAMES[f.system]}: {f.verdict} | {f.why}" for f in findings] or [
        "No criterion of any disorder has accepted evidence yet: no diagnosis is supported."
    ]
    return "<findings>\n" + "\n".join(lines) + "\n</findings>"


def risk_block(risks: Sequence[Risk], mode: Mode, must: Sequence[str], must_not: Sequence[str]) -> str:
    """The graded risk and what its mode asks of the reply."""
    lines = [f"mode: {mode}"]
    lines += [f"{risk.domain}: level {risk.level}, from {_grounds(risk)}{_cleared(risk)}" for risk in risks]
    lines += [f"must: {item}" for item in must] + [f"must not: {item}" for item in must_not]
    return "<risk>\n" + "\n".join(lines) + "\n</risk>"


def _cleared(risk: Risk) -> str:
    return "".join(f"; s{item.sentence} was read as {item.kind.replace('_', ' ')}" for item in risk.cleared)


def revise_block(draft: str, guidance: str) -> str:
    """A turn that was sent back: the draft, and what to change."""
    return f"<draft>\n{draft}\n</draft>\n\n<revise>\n{guidance}\n</revise>"
