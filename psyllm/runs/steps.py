"""A dialogue's calls as a tree: rounds, the graph's nodes in them, the calls of each node.

for node in tree(tuple(run.calls(dialogue.id))): node.round, node.name, node.attempt, node.calls
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from psyllm.runs.run import StoredCall


@dataclass(frozen=True)
class Totals:
    """What some calls took."""

    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None if any of the calls has no price."""
    seconds: float
    retries: int
    """Requests beyond the first of each call."""
    misfits: int
    """Replies that did not fit their schema."""


@dataclass(frozen=True)
class Node:
    """One visit of a graph node: the first call and its corrections."""

    round: int
    """1-based; 0 is the plan."""
    name: str
    """plan, patient, hear, diagnose, verify, respond, critique."""
    attempt: int
    """0-based: how often the turn was sent back before."""
    calls: tuple[StoredCall, ...]

    @property
    def role(self) -> str:
        return self.calls[0].role

    @property
    def answer(self) -> StoredCall:
        """The call that counts: the last one."""
        return self.calls[-1]


def tree(calls: Sequence[StoredCall]) -> tuple[Node, ...]:
    """The visits in the order made."""
    visits = groupby(calls, key=lambda call: (call.round, call.node, call.attempt))
    return tuple(Node(*place, tuple(made)) for place, made in visits)


def totals(calls: Iterable[StoredCall]) -> Totals:
    made = tuple(calls)
    costs = [call.cost_usd for call in made]
    return Totals(
        calls=len(made),
        prompt_tokens=sum(call.prompt_tokens for call in made),
        cached_tokens=sum(call.cached_tokens for call in made),
        completion_tokens=sum(call.completion_tokens for call in made),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        seconds=sum(call.seconds for call in made),
        retries=sum(len(call.retries) for call in made),
        misfits=sum(call.parsed is None for call in made),
    )
