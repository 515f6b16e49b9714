"""Verdicts from accepted evidence and facts."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical import Knowledge
from psyllm.records import Evidence, Fact, Finding, Polarity, System

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
    assert found["dsm5tr"].codes == ("F32.9",)
    assert found["icd11"].codes == ("6A70.5", "6A70.Z")
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


def test_course_and_level_choose_the_codes() -> None:
    again = {"prior_depressive_episodes": 1.0, "months_between_episodes": 4.0}
    worst = [*FIVE, "A8", "A9"]
    assert judged("mdd", FIVE, **EPISODE, **again)["dsm5tr"].codes == ("F33.9",)
    assert judged("mdd", worst, **EPISODE, marked_impairment=True)["dsm5tr"].codes == ("F32.2",)
    assert judged("mdd", FIVE, **EPISODE, psychotic_features=True)["icd11"].codes == ("6A70.Z",)
    drinking = {"within_12_months": True, "impairment": True, "duration_days": 400.0}
    assert judged("aud", ["A1", "A2"], **drinking)["dsm5tr"].codes == ("F10.10",)
    assert judged("aud", ["A1", "A2", "A3", "A4"], **drinking)["dsm5tr"].codes == ("F10.20",)
    assert judged("anorexia", ["A1", "A2", "A3"], bmi=14.5)["dsm5tr"].codes == ("F50.013", "F50.023")


@pytest.mark.parametrize(
    ("code", "system", "disorder", "status"),
    [
        ("F32.1", "dsm5tr", "mdd", "valid"),
        (" f32.1 ", "dsm5tr", "mdd", "valid"),
        ("F33.1", "dsm5tr", "mdd", "mismatch"),
        ("F32.3", "dsm5tr", "mdd", "mismatch"),
        ("F32.5", "dsm5tr", "mdd", "mismatch"),
        ("F32", "dsm5tr", "mdd", "not_billable"),
        ("F32.A", "dsm5tr", "mdd", "mismatch"),
        ("F41.1", "dsm5tr", "mdd", "mismatch"),
        ("G47.00", "dsm5tr", "insomnia", "mismatch"),
        ("F45.2", "dsm5tr", "illness_anxiety", "not_billable"),
        ("E11", "dsm5tr", "mdd", "not_billable"),
        ("F99.99", "dsm5tr", "mdd", "invalid"),
        ("depression", "dsm5tr", "mdd", "invalid"),
        ("6A70", "icd11", "mdd", "not_billable"),
        ("6A70.9", "icd11", "mdd", "invalid"),
        ("6B00", "icd11", "mdd", "mismatch"),
        ("6D80", "icd11", "mdd", "mismatch"),
        ("F32.1", "icd11", "mdd", "invalid"),
        ("6B41", "icd11", "cptsd", "valid"),
        ("F43.10", "dsm5tr", "cptsd", "mismatch"),
        ("F41.8", "dsm5tr", "mixed_dep_anx", "valid"),
    ],
)
def test_a_proposed_code_is_flagged(code: str, system: System, disorder: str, status: str) -> None:
    rulings = {r.finding.system: r for r in KNOWLEDGE.rule(evidence(disorder), [], [disorder])}
    assert KNOWLEDGE.code_status(code, system, disorder, rulings.get(system)) == status


def test_of_two_that_exclude_each_other_one_is_kept() -> None:
    worry = ["A1", "A2", "A3", "C1", "C4", "C5", "C6"]
    mixed = evidence("gad", *worry) + evidence("mixed_dep_anx", "D1", "X1", "X2")
    found = KNOWLEDGE.assess(
        mixed, facts("gad", **{**EPISODE, "duration_days": 200}) + facts("mixed_dep_anx", **EPISODE)
    )
    verdicts = {(f.disorder, f.system): f for f in found}
    assert verdicts["gad", "icd11"].verdict == "met"
    assert verdicts["mixed_dep_anx", "icd11"].verdict == "contradicted"
    assert "gives way to Generalised anxiety disorder" in verdicts["mixed_dep_anx", "icd11"].why
    assert verdicts["mixed_dep_anx", "icd11"].codes == ()


def test_what_may_stand_beside_each_other_does() -> None:
    both = evidence("mdd", *FIVE) + evidence("insomnia", "A1", "S1", "D1")
    more = {
        "nights_per_week": 5.0,
        "sleep_opportunity_adequate": True,
        "impairment": True,
        "duration_days": 120.0,
    } | RULED_OUT
    found = KNOWLEDGE.assess(both, facts("mdd", **EPISODE) + facts("insomnia", **more))
    assert {f.verdict for f in found} == {"met"}


@pytest.mark.parametrize(("days", "kept"), [(40.0, "ptsd"), (20.0, "acute_stress")])
def test_a_month_divides_shock_from_ptsd(days: float, kept: str) -> None:
    shock = evidence("acute_stress", "T1", *(f"S{n}" for n in range(1, 10)))
    trauma = evidence("ptsd", "T1", "B2", "C2", "D3", "D4", "E3", "E4")
    known = {"duration_days": days, "days_since_trauma": days, "impairment": True, **RULED_OUT}
    found = KNOWLEDGE.assess(shock + trauma, facts("ptsd", **known) + facts("acute_stress", **known))
    open_now = {f.disorder for f in found if f.verdict in ("met", "provisional") and f.system == "dsm5tr"}
    assert open_now == {kept}


ALL = KNOWLEDGE.disorder_ids
claims = st.builds(
    lambda name, sentence, polarity: Evidence(
        disorder=name.split(".")[0], criterion=name.split(".")[1], sentence=sentence, polarity=polarity
    ),
    name=st.sampled_from(KNOWLEDGE.criterion_ids),
    sentence=st.integers(1, 9),
    polarity=st.sampled_from(["asserts", "asserts", "denies"]),
)
_BOOLS = [name for name, spec in KNOWLEDGE.facts.items() if spec.type == "bool"]
_NUMBERS = [name for name, spec in KNOWLEDGE.facts.items() if spec.type == "number"]
stated = st.builds(Fact, name=st.sampled_from(_BOOLS), value=st.booleans(), sentence=st.integers(1, 9)) | st.builds(
    Fact, name=st.sampled_from(_NUMBERS), value=st.integers(0, 900).map(float), sentence=st.integers(1, 9)
)


def full(disorder: str) -> list[Evidence]:
    """Every criterion of a disorder, asserted."""
    return evidence(disorder, *(c.partition(".")[2] for c in KNOWLEDGE.criterion_ids_of([disorder])))


@pytest.mark.parametrize("disorder", ALL)
def test_with_no_fact_stated_nothing_is_met(disorder: str) -> None:
    found = KNOWLEDGE.assess(full(disorder), [])
    assert {f.verdict for f in found} <= {"provisional", "contradicted"}
    assert all(f.questions for f in found if f.verdict == "provisional")


@pytest.mark.parametrize("disorder", ALL)
def test_with_no_symptom_told_nothing_is_open(disorder: str) -> None:
    told = [Fact(name=name, value=True, sentence=1, disorders=(disorder,)) for name in ("distress", "impairment")]
    assert all(f.verdict in ("insufficient", "contradicted") for f in KNOWLEDGE.assess([], told))


@pytest.mark.parametrize("disorder", ALL)
def test_an_exclusion_that_holds_wins_in_every_disorder(disorder: str) -> None:
    for system, block in KNOWLEDGE.disorders[disorder].blocks().items():
        for exclusion in block.exclusions:
            name = getattr(exclusion.when, "fact", "")
            if name and KNOWLEDGE.facts[name].type == "bool":
                fact = Fact(name=name, value=True, sentence=1)
                rulings = {r.finding.system: r for r in KNOWLEDGE.rule(full(disorder), [fact])}
                assert rulings[system].finding.verdict == "contradicted"
                assert rulings[system].redirect


@given(st.sampled_from(ALL), st.lists(claims, max_size=10), st.lists(stated, max_size=8), st.data())
def test_one_more_assertion_never_takes_a_symptom_rule_back(
    disorder: str, told: list[Evidence], known: list[Fact], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(KNOWLEDGE.criterion_ids_of([disorder]))).partition(".")[2]
    one_more = [*told, *evidence(disorder, name, sentence=99)]
    for before, after in zip(
        KNOWLEDGE.rule(told, known, [disorder]), KNOWLEDGE.rule(one_more, known, [disorder]), strict=True
    ):
        if before.known.truth(before.block.symptoms) is True:
            assert after.known.truth(after.block.symptoms) is True


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
    found = KNOWLEDGE.assess(evidence, silent)
    assert all(f.verdict != "met" for f in found if f.disorder in ("mdd", "pdd", "gad", "ptsd", "cptsd", "panic"))


@given(st.lists(claims, max_size=10), st.lists(stated, max_size=8), st.sampled_from(["A1", "A2", "A3", "A6"]))
def test_one_more_symptom_of_depression_never_lowers_the_verdict(
    evidence: list[Evidence], facts: list[Fact], criterion: str
) -> None:
    def verdicts(claims: list[Evidence]) -> dict[str, str]:
        return {f.system: f.verdict for f in KNOWLEDGE.assess(claims, facts) if f.disorder == "mdd"}

    evidence = [e for e in evidence if e.disorder == "mdd"]
    more = Evidence(disorder="mdd", criterion=criterion, sentence=99)
    before, after = verdicts(evidence), verdicts([*evidence, more])
    assert all(ORDER.index(after[system]) >= ORDER.index(before[system]) for system in before)
