"""Rules over criteria and facts in three-valued (Kleene) logic: True, False, or None for unknown.

rule = parse({"all": ["T1", {"at_least": {"n": 2, "of": ["D1..D7"]}}, {"fact": "duration_days", "ge": 28}]})
evaluate(rule, {"T1": True, "D3": True}, {"duration_days": 60.0})  # None: D1 or another may still be asserted
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Truth: TypeAlias = bool | None
Value: TypeAlias = bool | float
NEAR = 1.1
"""How far beyond a threshold an approximate number must lie, as a factor."""


class About(float):
    """A number that was said as "about so much"."""


_RANGE = re.compile(r"([A-Z])(\d+)\.\.\1(\d+)")
_CRITERION = re.compile(r"[A-Z]\d+")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A criterion: true when accepted evidence asserts it, false when it denies it."""

    id: str


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison with a fact: unknown when nobody stated the fact."""

    fact: str
    op: str
    """is, ge, gt, le or lt."""
    value: Value
    grey: float | None = None
    """Values between this and `value` are unknown: close, but under the threshold."""


@dataclass(frozen=True, slots=True)
class Count:
    """At least `n` of some rules: `any` is n = 1, `all` is n = len(of)."""

    n: int
    of: tuple[Rule, ...]

    @property
    def needs_all(self) -> bool:
        return self.n == len(self.of)


@dataclass(frozen=True, slots=True)
class Not:
    of: Rule


Rule: TypeAlias = Leaf | Compare | Count | Not


def evaluate(rule: Rule, held: Mapping[str, bool], facts: Mapping[str, Value]) -> Truth:
    """`held`: criterion -> asserted (True) or denied (False); a criterion or fact that is not there is unknown."""
    match rule:
        case Leaf(id):
            return held.get(id)
        case Compare():
            return _compare(rule, facts.get(rule.fact))
        case Not(of):
            truth = evaluate(of, held, facts)
            return None if truth is None else not truth
        case Count(n, of):
            truths = [evaluate(part, held, facts) for part in of]
            if truths.count(True) >= n:
                return True
            return False if len(truths) - truths.count(False) < n else None


def leaves(rule: Rule) -> Iterator[Leaf | Compare]:
    """The criteria and comparisons of a rule, in its order."""
    match rule:
        case Count(_, of):
            for part in of:
                yield from leaves(part)
        case Not(of):
            yield from leaves(of)
        case Leaf() | Compare():
            yield rule


def parse(node: object) -> Rule:
    """A rule as it stands in YAML. Raises ValueError quoting the part that is no rule."""
    match node:
        case str() if _CRITERION.fullmatch(node):
            return Leaf(node)
        case {"all": list(of), **rest} if of and not rest:
            parts = _parts(of)
            return Count(len(parts), parts)
        case {"any": list(of), **rest} if of and not rest:
            return Count(1, _parts(of))
        case {"at_least": {"n": int(n), "of": list(of), **more}, **rest} if not rest and not more:
            parts = _parts(of)
            if not 1 <= n <= len(parts):
                raise ValueError(f"at_least {n} of {len(parts)}")
            return Count(n, parts)
        case {"not": of, **rest} if not rest:
            return Not(parse(of))
        case {"fact": str(fact), **test}:
            return _test(fact, test)
    raise ValueError(f"not a rule: {node!r}")


def _parts(of: list[object]) -> tuple[Rule, ...]:
    parts: list[Rule] = []
    for node in of:
        span = _RANGE.fullmatch(node) if isinstance(node, str) else None
        if span is None:
            parts.append(parse(node))
        else:
            letter, first, last = span.groups()
            parts += [Leaf(f"{letter}{n}") for n in range(int(first), int(last) + 1)]
    return tuple(parts)


def _test(fact: str, test: dict[object, object]) -> Compare:
    match test:
        case {"is": bool(value), **rest} if not rest:
            return Compare(fact, "is", value)
        case {"ge": int() | float() as value, "grey_from": int() | float() as grey, **rest} if (
            not rest and grey < value
        ):
            return Compare(fact, "ge", value, grey)
        case {"gt": int() | float() as value, "grey_from": int() | float() as grey, **rest} if (
            not rest and grey <= value
        ):
            return Compare(fact, "gt", value, grey)
        case {"le": int() | float() as value, "grey_to": int() | float() as grey, **rest} if not rest and grey > value:
            return Compare(fact, "le", value, grey)
    if len(test) == 1:
        ((op, number),) = test.items()
        if isinstance(op, str) and op in _COMPARE and isinstance(number, int | float) and not isinstance(number, bool):
            return Compare(fact, op, number)
    raise ValueError(f"not a test of the fact {fact}: {test!r}")


def _compare(test: Compare, value: Value | None) -> Truth:
    if value is None:
        return None
    if test.op == "is":
        return value == test.value
    if _COMPARE[test.op](value, test.value):
        near = isinstance(value, About) and test.op in ("ge", "gt") and value < test.value * NEAR
        return None if near else True
    close = test.grey is not None and (value >= test.grey if test.op in ("ge", "gt") else value <= test.grey)
    return None if close else False


def written(rule: Rule) -> str:
    """A rule in words, for reading: "at least 5 of (A1, A2, ...) and duration_days >= 14"."""
    match rule:
        case Leaf(id):
            return id
        case Compare(fact, op, value):
            sign = {"is": "=", "ge": ">=", "gt": ">", "le": "<=", "lt": "<"}[op]
            shown = str(value).lower() if isinstance(value, bool) else f"{value:g}"
            return f"{fact} {sign} {shown}" + (f" (open from {rule.grey:g})" if rule.grey is not None else "")
        case Not(of):
            return f"not ({written(of)})"
        case Count(n, of):
            parts = [written(part) for part in of]
            if len(parts) == 1:
                return parts[0]
            if rule.needs_all:
                return " and ".join(f"({p})" if " or " in p else p for p in parts)
            return " or ".join(parts) if n == 1 else f"at least {n} of ({', '.join(parts)})"
