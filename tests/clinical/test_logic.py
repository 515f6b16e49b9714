"""The three-valued logic, over generated rules and knowledge."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical.logic import Compare, Count, Leaf, Not, Rule, Truth, evaluate, leaves, parse

Held = dict[str, bool]
Facts = dict[str, float]

CRITERIA = [f"A{n}" for n in range(1, 7)]
FACTS = ["duration_days", "days_since_loss"]

leaf: st.SearchStrategy[Rule] = st.sampled_from(CRITERIA).map(Leaf) | st.builds(
    Compare, st.sampled_from(FACTS), st.sampled_from(["ge", "gt", "le", "lt"]), st.integers(1, 40)
)


@st.composite
def count(draw: st.DrawFn, parts: st.SearchStrategy[Rule]) -> Rule:
    of = tuple(draw(st.lists(parts, min_size=1, max_size=4)))
    return Count(draw(st.integers(1, len(of))), of)


monotone: st.SearchStrategy[Rule] = st.recursive(leaf, count, max_leaves=12)
rules: st.SearchStrategy[Rule] = st.recursive(leaf, lambda parts: count(parts) | parts.map(Not), max_leaves=12)
held = st.dictionaries(st.sampled_from(CRITERIA), st.booleans())
facts = st.dictionaries(st.sampled_from(FACTS), st.integers(0, 50).map(float))
ORDER = [False, None, True]


@given(monotone, held, facts, st.sampled_from(CRITERIA))
def test_asserting_one_more_criterion_never_weakens(rule: Rule, held: Held, facts: Facts, criterion: str) -> None:
    before = evaluate(rule, held, facts)
    after = evaluate(rule, {**held, criterion: True}, facts)
    assert ORDER.index(after) >= ORDER.index(before)


@given(rules, held, facts, held, facts)
def test_what_is_settled_stays_settled_whatever_is_learnt(
    rule: Rule, held: Held, facts: Facts, more_held: Held, more_facts: Facts
) -> None:
    before = evaluate(rule, held, facts)
    after = evaluate(rule, {**more_held, **held}, {**more_facts, **facts})
    assert before is None or after is before


@given(rules)
def test_with_everything_known_nothing_is_unknown(rule: Rule) -> None:
    assert evaluate(rule, dict.fromkeys(CRITERIA, True), dict.fromkeys(FACTS, 10.0)) is not None


@given(monotone)
def test_with_nothing_known_nothing_is_met(rule: Rule) -> None:
    assert evaluate(rule, {}, {}) is None


@given(rules, held, facts, st.randoms())
def test_the_order_of_parts_does_not_matter(rule: Rule, held: Held, facts: Facts, random: Random) -> None:
    def shuffled(rule: Rule) -> Rule:
        if isinstance(rule, Count):
            parts = [shuffled(part) for part in rule.of]
            random.shuffle(parts)
            return Count(rule.n, tuple(parts))
        return Not(shuffled(rule.of)) if isinstance(rule, Not) else rule

    assert evaluate(shuffled(rule), held, facts) is evaluate(rule, held, facts)


@pytest.mark.parametrize(("days", "truth"), [(90.0, True), (89.0, None), (60.0, None), (59.0, False), (None, None)])
def test_a_grey_zone_is_unknown(days: float | None, truth: Truth) -> None:
    rule = parse({"fact": "duration_days", "ge": 90, "grey_from": 60})
    assert evaluate(rule, {}, {} if days is None else {"duration_days": days}) is truth


def test_a_grey_zone_above_a_maximum_is_unknown() -> None:
    rule = parse({"fact": "gap", "le": 60, "grey_to": 90})
    assert [evaluate(rule, {}, {"gap": days}) for days in (60.0, 75.0, 91.0)] == [True, None, False]


def test_a_range_names_every_criterion_in_it() -> None:
    rule = parse({"at_least": {"n": 2, "of": ["A2..A4", {"any": ["A1", "B1"]}]}})
    assert list(leaves(rule)) == [Leaf(c) for c in ("A2", "A3", "A4", "A1", "B1")]
    assert evaluate(rule, {"A3": True, "B1": True}, {}) is True


@pytest.mark.parametrize(
    "node",
    [
        "a1",
        {"all": []},
        {"any": ["A1"], "all": ["A2"]},
        {"at_least": {"n": 3, "of": ["A1", "A2"]}},
        {"at_least": {"n": 0, "of": ["A1"]}},
        {"fact": "duration_days"},
        {"fact": "duration_days", "ge": 14, "le": 20},
        {"fact": "duration_days", "ge": True},
        {"fact": "duration_days", "ge": 14, "grey_from": 20},
        {"some": ["A1"]},
    ],
)
def test_what_is_no_rule_is_refused(node: object) -> None:
    with pytest.raises(ValueError):
        parse(node)
