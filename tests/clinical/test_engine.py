"""Verdicts from accepted evidence and facts."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical import Knowledge
from psyllm.records import Evidence, Fact, Finding, Polarity

KNOWLEDGE = Knowledge.load()
ORDER = ["contradicted", "insufficient", "provisional", "met"]
RULED_OUT = {"manic_history": False, "substance_explains": False, "medical_explains": False}
EPISODE = {"duration_days": 30.0, "most_days": True, "impairment": True, **RULED_OUT}


def evidence(disorder: str, *criteria: str, sentence: int = 1, denies: bool = False) -> list[Evidence]:
    polarity: Polarity = "denies" if denies else "asserts"
    return [Evidence(disorder=disorder, criterion=c, sentence=sentence, polarity=polarity) for c in criteria]


def facts(disorder: str, **values: float) -> list[Fact]:
    return [Fact(name=name, value=value, sentence=1, disorders=(disorder,)) for name, value in values.items()]


def by_system(found: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.system: finding for finding in found}


def judged(disorder: str, criteria: list[str], **values: float) -> dict[str, Finding]:
    return by_system(KNOWLEDGE.assess(evidence(disorder, *criteria), facts(disorder, **values)))


FIVE = ["A1", "A2", "A4", "A6", "A7"]


def test_a_full_episode_is_met_in_both_systems_with_its_codes() -> None:
    found = judged("mdd", FIVE, **EPISODE)
    assert {f.verdict for f in found.values()} == {"met"}
    assert "F32.1" in found["dsm5tr"].codes
    assert "6A70.1" in found["icd11"].codes
    assert found["dsm5tr"].questions == ()


def test_four_symptoms_are_insufficient_and_say_what_is_missing() -> None:
    found = judged("mdd", FIVE[1:], **EPISODE)["dsm5tr"]
    assert found.verdict == "insufficient"
    assert found.why.startswith("4 of 5 symptoms held (A2, A4, A6, A7)")
    assert found.codes == ()
    assert any("low, empty or tearful" in question for question in found.questions)


def test_five_without_low_mood_or_interest_are_insufficient() -> None:
    found = judged("mdd", ["A3", "A4", "A6", "A7", "A8"], **EPISODE)["dsm5tr"]
    assert found.verdict == "insufficient"
    assert "A1/A2 not stated" in found.why


def test_hopelessness_counts_in_icd11_only() -> None:
    found = judged("mdd", ["A1", "A4", "A6", "A7", "A10"], **EPISODE)
    assert (found["dsm5tr"].verdict, found["icd11"].verdict) == ("insufficient", "met")
    assert ("A10" in found["dsm5tr"].held, "A10" in found["icd11"].held) == (False, True)


def test_ten_days_contradict() -> None:
    found = judged("mdd", FIVE, **{**EPISODE, "duration_days": 10})["dsm5tr"]
    assert found.verdict == "contradicted"
    assert "duration 10 days, at least 14 needed" in found.why


def test_unasked_mania_leaves_it_provisional_and_is_asked_for() -> None:
    found = judged("mdd", FIVE, **{k: v for k, v in EPISODE.items() if k != "manic_history"})["dsm5tr"]
    assert found.verdict == "provisional"
    assert "past mania not ruled out" in found.why
    assert any("unusually high" in question for question in found.questions)


def test_past_mania_points_elsewhere() -> None:
    found = judged("mdd", FIVE, **{**EPISODE, "manic_history": True})["icd11"]
    assert found.verdict == "contradicted"
    assert "bipolar_1" in found.why


def test_fresh_grief_divides_the_systems() -> None:
    found = judged("mdd", FIVE, **EPISODE, bereaved=True, days_since_loss=18, grief_atypical_sign=False)
    assert (found["dsm5tr"].verdict, found["icd11"].verdict) == ("met", "contradicted")


def test_distress_alone_is_enough_for_dsm_but_not_for_icd11() -> None:
    found = judged("mdd", FIVE, duration_days=30, most_days=True, distress=True, **RULED_OUT)
    assert (found["dsm5tr"].verdict, found["icd11"].verdict) == ("met", "provisional")


@pytest.mark.parametrize(("days", "icd11"), [(120, "met"), (70, "provisional"), (35, "contradicted")])
def test_worry_of_some_months_divides_the_systems(days: float, icd11: str) -> None:
    worry = ["A1", "A2", "A3", "C1", "C4", "C5", "C6"]
    found = judged("gad", worry, duration_days=days, most_days=True, distress=True, **RULED_OUT)
    assert (found["dsm5tr"].verdict, found["icd11"].verdict) == ("contradicted", icd11)


def test_every_cluster_of_ptsd_is_needed() -> None:
    clusters = ["T1", "B2", "C2", "D3", "D4", "E3", "E4"]
    more = {"duration_days": 90, "impairment": True, **RULED_OUT}
    assert {f.verdict for f in judged("ptsd", clusters, **more).values()} == {"met"}
    without = judged("ptsd", [c for c in clusters if c != "C2"], **more)
    assert {f.verdict for f in without.values()} == {"insufficient"}
    assert "C1/C2 not stated" in without["icd11"].why


def test_a_disturbed_self_points_to_complex_ptsd_in_icd11() -> None:
    found = judged("ptsd", ["T1", "B2", "C2", "E3", "X1", "X2", "X3"], duration_days=90, impairment=True)
    assert found["icd11"].verdict == "contradicted"
    assert "cptsd" in found["icd11"].why


def test_alcohol_needs_two_features_of_three_in_icd11() -> None:
    more = {"within_12_months": True, "impairment": True, "duration_days": 400}
    same_feature = judged("aud", ["A1", "A2"], **more)
    assert (same_feature["dsm5tr"].verdict, same_feature["icd11"].verdict) == ("met", "insufficient")
    assert judged("aud", ["A1", "A10"], **more)["icd11"].verdict == "met"


def test_a_later_denial_retracts_and_a_later_assertion_restores() -> None:
    told = evidence("mdd", *FIVE)
    denied = told + evidence("mdd", "A7", sentence=5, denies=True)
    restored = denied + evidence("mdd", "A7", sentence=9)
    verdicts = [by_system(KNOWLEDGE.assess(e, facts("mdd", **EPISODE)))["dsm5tr"] for e in (told, denied, restored)]
    assert [f.verdict for f in verdicts] == ["met", "insufficient", "met"]
    assert verdicts[1].denied == ("A7",)


def test_a_fact_bound_to_one_disorder_does_not_count_for_another() -> None:
    both = evidence("mdd", *FIVE) + evidence("gad", "A1")
    found = KNOWLEDGE.assess(both, facts("gad", **EPISODE))
    mdd = next(f for f in found if f.disorder == "mdd" and f.system == "dsm5tr")
    assert mdd.verdict == "provisional"
    assert "duration" in mdd.why


def test_only_disorders_with_something_accepted_are_judged() -> None:
    found = KNOWLEDGE.assess(evidence("gad", "A1"), [Fact(name="manic_history", value=False, sentence=1)])
    assert [(f.disorder, f.system) for f in found] == [("gad", "dsm5tr"), ("gad", "icd11")]
    assert KNOWLEDGE.assess([], []) == ()


claims = st.builds(
    Evidence,
    disorder=st.sampled_from(["mdd", "ptsd"]),
    criterion=st.sampled_from(["A1", "A2", "A3", "A4", "A6", "A7", "T1", "B2", "C2", "D3", "D4", "E3", "E4"]),
    sentence=st.integers(1, 9),
    polarity=st.sampled_from(["asserts", "asserts", "denies"]),
)
stated = st.builds(
    Fact,
    name=st.sampled_from(["most_days", "impairment", "manic_history", "substance_explains", "medical_explains"]),
    value=st.booleans(),
    sentence=st.integers(1, 9),
) | st.builds(Fact, name=st.just("duration_days"), value=st.integers(1, 200).map(float), sentence=st.integers(1, 9))


@given(st.lists(claims, max_size=14), st.lists(stated, max_size=8), st.randoms())
def test_the_order_of_claims_does_not_matter(evidence: list[Evidence], facts: list[Fact], random: Random) -> None:
    found = KNOWLEDGE.assess(evidence, facts)
    random.shuffle(evidence)
    random.shuffle(facts)
    assert KNOWLEDGE.assess(evidence, facts) == found


@given(st.lists(claims, max_size=14), st.lists(stated, max_size=8))
def test_an_exclusion_always_wins(evidence: list[Evidence], facts: list[Fact]) -> None:
    mania = Fact(name="manic_history", value=True, sentence=99)
    found = KNOWLEDGE.assess(evidence, [*facts, mania])
    assert all(f.verdict == "contradicted" for f in found if f.disorder == "mdd")


@given(st.lists(claims, max_size=14), st.lists(stated, max_size=8))
def test_without_a_stated_duration_nothing_is_met(evidence: list[Evidence], facts: list[Fact]) -> None:
    silent = [fact for fact in facts if fact.name != "duration_days"]
    assert all(f.verdict != "met" for f in KNOWLEDGE.assess(evidence, silent))


@given(st.lists(claims, max_size=10), st.lists(stated, max_size=8), st.sampled_from(["A1", "A2", "A3", "A6"]))
def test_one_more_symptom_of_depression_never_lowers_the_verdict(
    evidence: list[Evidence], facts: list[Fact], criterion: str
) -> None:
    def verdicts(claims: list[Evidence]) -> dict[str, str]:
        return {f.system: f.verdict for f in KNOWLEDGE.assess(claims, facts) if f.disorder == "mdd"}

    more = Evidence(disorder="mdd", criterion=criterion, sentence=99)
    before, after = verdicts(evidence), verdicts([*evidence, more])
    assert all(ORDER.index(after[system]) >= ORDER.index(before[system]) for system in before)
