"""What a claim must pass before it counts."""

from collections.abc import Callable, Sequence

import pytest

from clinical import Knowledge
from psyllm.records import Evidence, Fact, Polarity, Turn

Say = Callable[..., list[Turn]]


def gate_of(knowledge: Knowledge, turns: Sequence[Turn], claim: Evidence | Fact) -> str:
    """The gate that drops a claim about the last sentence, or '' when it is accepted."""
    evidence, facts, dropped = knowledge.gate([claim], turns)
    assert claim in (*evidence, *(d.claim for d in dropped)) or facts or dropped
    return dropped[0].gate if dropped else ""


def asserts(criterion: str, sentence: int = 1, polarity: Polarity = "asserts") -> Evidence:
    disorder, _, name = criterion.partition(".")
    return Evidence(disorder=disorder, criterion=name, sentence=sentence, polarity=polarity)


@pytest.mark.parametrize(
    ("words", "criterion", "gate"),
    [
        ("I feel empty from morning till night.", "mdd.A1", ""),
        ("I don't enjoy anything any more.", "mdd.A2", ""),
        ("I can't think straight.", "mdd.A8", ""),
        ("I can't stop feeling worthless.", "mdd.A7", ""),
        ("I'm not sad, just empty.", "mdd.A1", ""),
        ("I'm a waster anyway.", "mdd.A7", ""),
        ("I have depression, I can't get out of bed.", "mdd.A6", ""),
        ("My brother was killed in front of the house.", "ptsd.T1", ""),
        ("When I was seven a man attacked my mother.", "ptsd.T1", ""),
        ("My hands shake until the first drink.", "aud.A11", ""),
        ("If I'm honest I feel worthless.", "mdd.A7", ""),
        ("I used to climb, now I couldn't care less.", "mdd.A2", ""),
        ("My wife says I'm always on edge.", "ptsd.E3", ""),
        ("I have depression.", "mdd.A1", "label"),
        ("I have depression and anxiety.", "gad.A1", "label"),
        ("My PHQ-9 was 23.", "mdd.A6", "label"),
        ("I've been diagnosed with PTSD.", "ptsd.B1", "label"),
        ("I've had social anxiety disorder since forever, the online test said severe.", "social_anxiety.A1", "label"),
        ("I'm an alcoholic I guess.", "aud.A1", "label"),
        ("I wouldn't call myself worthless.", "mdd.A7", "negation"),
        ("No flashbacks or nightmares.", "ptsd.B3", "negation"),
        ("No.", "mdd.A1", "acquiescence"),
        ("Yeah.", "mdd.A1", "acquiescence"),
        ("My sister cries all day.", "mdd.A1", "experiencer"),
        ("She's lost ten kilos.", "mdd.A3", "experiencer"),
        ("If this goes on I'd probably stop sleeping too.", "mdd.A4", "hypothetical"),
        ("If I lost my job, I would fall apart.", "gad.A1", "hypothetical"),
        ("I can't tell if I'm worthless.", "mdd.A7", "hypothetical"),
        ("Am I just worthless?", "mdd.A7", "hypothetical"),
        ("As a kid I cried every night.", "mdd.A1", "past"),
        ("I drank too much when I was in the army.", "aud.A1", "past"),
        ("I feel empty.", "mdd.Z9", "criterion"),
        ("I feel empty.", "xyz.A1", "criterion"),
    ],
)
def test_one_sentence(knowledge: Knowledge, say: Say, words: str, criterion: str, gate: str) -> None:
    assert gate_of(knowledge, say([words]), asserts(criterion)) == gate


@pytest.mark.parametrize(
    ("asked", "words", "gate"),
    [
        ("Have you lost interest in things?", "Yes.", ""),
        ("Have you lost interest, and do you sleep badly?", "Yes.", "acquiescence"),
        ("You've lost all interest, haven't you?", "Yeah.", "acquiescence"),
        ("Have you lost interest in things?", "No.", "acquiescence"),
        ("How is work?", "Yes, both.", "acquiescence"),
        ("Have you lost interest in things? And at work?", "Yeah I guess.", "acquiescence"),
    ],
)
def test_a_bare_yes_answers_one_plain_question(
    knowledge: Knowledge, say: Say, asked: str, words: str, gate: str
) -> None:
    assert gate_of(knowledge, say(["Hi."], [words], asked=asked), asserts("mdd.A2", sentence=2)) == gate


@pytest.mark.parametrize(
    ("words", "criterion", "gate"),
    [
        ("I drink more than I used to.", "aud.A10", ""),
        ("Last year I cried every day.", "mdd.A1", "past"),
        ("When I was at university I couldn't sleep, but now I'm shattered.", "mdd.A6", ""),
        ("When I was at university I couldn't sleep, but now I'm shattered.", "mdd.A4", "past"),
        ("I'm afraid I'll be a burden.", "mdd.A7", "hypothetical"),
        ("I worry that I'll lose my job.", "gad.A1", ""),
        ("I'm useless, just kidding.", "mdd.A7", "hypothetical"),
        ("My partner reckons I drink too much.", "aud.A1", "experiencer"),
        ("My brother drinks every night, and he can't stop.", "aud.A2", "experiencer"),
        ("My brother drinks, and I can't stop either.", "aud.A2", ""),
        ("People like me can't sleep.", "mdd.A4", "experiencer"),
        ("I feel awful.", "mdd.A1", "vague"),
        ("I'm awake till three half the time.", "mdd.A4", "vague"),
        ("Sometimes I'm low.", "mdd.A1", "vague"),
        ("I've had nothing but nightmares.", "ptsd.B2", ""),
    ],
)
def test_clauses_are_read_one_by_one(knowledge: Knowledge, say: Say, words: str, criterion: str, gate: str) -> None:
    assert gate_of(knowledge, say([words]), asserts(criterion)) == gate


def test_a_remark_on_a_label_is_a_label(knowledge: Knowledge, say: Say) -> None:
    turns = say(["I have severe major depression, F32.2.", "It's the textbook kind."])
    assert gate_of(knowledge, turns, asserts("mdd.A2", sentence=2)) == "label"


def test_the_past_and_another_person_go_on_into_the_next_sentence(knowledge: Knowledge, say: Say) -> None:
    turns = say(["Back in 2015 I had a bad year.", "I cried every day.", "My sister is ill.", "It's been two months."])
    assert gate_of(knowledge, turns, asserts("mdd.A1", sentence=2)) == "past"
    month = Fact(name="duration_days", value=60.0, sentence=4, disorders=("mdd",))
    assert gate_of(knowledge, turns, month) == "experiencer"


def test_a_negated_claim_is_kept_as_a_denial_and_takes_nothing_back(knowledge: Knowledge, say: Say) -> None:
    turns = say(["I'm not worthless."])
    denial = asserts("mdd.A7", polarity="denies")
    assert knowledge.gate([asserts("mdd.A7")], turns)[0] == (denial,)
    empty, sad = asserts("mdd.A1"), asserts("mdd.A1", sentence=2)
    accepted, _, dropped = knowledge.gate([empty, sad], say(["I'm empty.", "I'm not sad."]))
    assert (accepted, [d.gate for d in dropped]) == ((empty,), ["negation"])


@pytest.mark.parametrize(
    ("words", "name", "value", "gate"),
    [
        ("Five weeks ago they gave me my own branch.", "duration_days", 35.0, "grounding"),
        ("It started five weeks ago.", "duration_days", 35.0, ""),
        ("For years now.", "duration_days", 1500.0, ""),
        ("Since yesterday.", "duration_days", 14.0, "grounding"),
        ("We split up yesterday.", "duration_days", 14.0, "grounding"),
        ("Forever.", "duration_days", 700.0, "grounding"),
        ("I've never been high or wired.", "manic_history", True, "negation"),
        ("I was manic once.", "manic_history", True, ""),
        ("It's like that half the time.", "most_days", True, "grounding"),
    ],
)
def test_more_facts_need_ground(
    knowledge: Knowledge, say: Say, words: str, name: str, value: bool | float, gate: str
) -> None:
    assert gate_of(knowledge, say([words]), Fact(name=name, value=value, sentence=1, disorders=("mdd",))) == gate


def test_a_sentence_that_was_never_said(knowledge: Knowledge, say: Say) -> None:
    assert gate_of(knowledge, say(["I feel empty."]), asserts("mdd.A1", sentence=2)) == "sentence"


def test_an_earlier_sentence_may_still_be_cited(knowledge: Knowledge, say: Say) -> None:
    assert gate_of(knowledge, say(["I feel empty."], ["Dunno."]), asserts("mdd.A1", sentence=1)) == ""


def test_a_denial_is_kept_and_a_false_denial_dropped(knowledge: Knowledge, say: Say) -> None:
    no = asserts("mdd.A9", polarity="denies")
    assert gate_of(knowledge, say(["I don't want to die."]), no) == ""
    assert gate_of(knowledge, say(["I want to die."]), no) == "negation"


def test_one_span_supports_one_criterion_of_a_disorder(knowledge: Knowledge, say: Say) -> None:
    one = say(["I feel so empty."])
    accepted, _, dropped = knowledge.gate([asserts("mdd.A1"), asserts("mdd.A7"), asserts("ptsd.D7")], one)
    assert [(e.disorder, e.criterion) for e in accepted] == [("mdd", "A1"), ("ptsd", "D7")]
    assert dropped[0].gate == "single_use"
    two = say(["I can't sleep and I can't eat."])
    accepted, _, _ = knowledge.gate([asserts("mdd.A4"), asserts("mdd.A3")], two)
    assert len(accepted) == 2


def test_standing_evidence_is_not_accepted_twice(knowledge: Knowledge, say: Say) -> None:
    turns = say(["I feel empty, I really do."], ["Same again."])
    standing = turns[0].model_copy(update={"evidence": (asserts("mdd.A1"),)})
    assert gate_of(knowledge, [standing, turns[1]], asserts("mdd.A1")) == "single_use"


@pytest.mark.parametrize(
    ("words", "name", "value", "gate"),
    [
        ("It's been two months like this, bit more maybe.", "duration_days", 60.0, ""),
        ("Since March, I think.", "duration_days", 200.0, ""),
        ("For half a year now.", "duration_days", 180.0, ""),
        ("It's been like this for ten days.", "duration_days", 60.0, "grounding"),
        ("My exam is in two weeks.", "duration_days", 14.0, "grounding"),
        ("Lately I feel hollow.", "duration_days", 30.0, "grounding"),
        ("It's been two months.", "duration_days", True, "fact"),
        ("Every single day.", "most_days", True, ""),
        ("It is what it is.", "most_days", True, "grounding"),
        ("The doctor found nothing.", "medical_explains", False, ""),
        ("I work in a shop.", "medical_explains", False, "grounding"),
        ("Don't know if the weed was first.", "substance_explains", True, "hypothetical"),
        ("My sister stopped going to work.", "impairment", True, "experiencer"),
        ("I've stopped going to work.", "impairment", True, ""),
        ("I've stopped going to work.", "near_daily_use", True, "fact"),
    ],
)
def test_facts_need_ground(
    knowledge: Knowledge, say: Say, words: str, name: str, value: bool | float, gate: str
) -> None:
    fact = Fact(name=name, value=value, sentence=1, disorders=("mdd",))
    assert gate_of(knowledge, say([words]), fact) == gate


def test_a_no_grounds_what_the_counsellor_asked_about(knowledge: Knowledge, say: Say) -> None:
    fact = Fact(name="manic_history", value=False, sentence=2, disorders=("mdd",))
    asked = say(["I feel flat."], ["No, never."], asked="Have you ever been unusually high or wired?")
    assert gate_of(knowledge, asked, fact) == ""
    assert gate_of(knowledge, say(["I feel flat."], ["No, never."], asked="And at work?"), fact) == "grounding"


def test_a_fact_about_the_person_counts_for_every_disorder(knowledge: Knowledge, say: Say) -> None:
    said = say(["I've never been manic or wired, though."])
    _, facts, _ = knowledge.gate([Fact(name="manic_history", value=False, sentence=1, disorders=("mdd",))], said)
    assert facts[0].disorders == ()


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ("For two weeks it has been like this, every day.", "met"),
        ("For about two weeks it has been like this, every day.", "provisional"),
        ("A couple of weeks it has been like this, every day.", "provisional"),
        ("For two weeks or so it has been like this, every day.", "provisional"),
        ("I worry about it, and for two weeks it has been like this, every day.", "met"),
    ],
)
def test_about_so_long_reaches_no_threshold_that_it_barely_passes(
    knowledge: Knowledge, say: Say, words: str, verdict: str
) -> None:
    texts = ["I'm empty.", "Nothing is fun.", "I can't sleep.", "I can't eat.", "I'm worthless.", "I can't work."]
    claims: list[Evidence | Fact] = [asserts(f"mdd.{c}", n) for n, c in enumerate(("A1", "A2", "A4", "A3", "A7"), 1)]
    told = {"impairment": 6, "most_days": 7, "duration_days": 7}
    claims += [
        Fact(name=n, value=14.0 if n[0] == "d" else True, sentence=s, disorders=("mdd",)) for n, s in told.items()
    ]
    evidence, facts, dropped = knowledge.gate(claims, say([*texts, words]))
    ruled_out = [
        Fact(name=n, value=False, sentence=1) for n in ("manic_history", "substance_explains", "medical_explains")
    ]
    assert dropped == ()
    assert knowledge.assess(evidence, [*facts, *ruled_out])[0].verdict == verdict


def test_the_lenient_profile_lets_an_unasked_substance_or_illness_be(knowledge: Knowledge) -> None:
    evidence = [asserts(f"gad.{c}", n) for n, c in enumerate(("A1", "A2", "A3", "C1", "C3", "C5"), 1)]
    facts: list[Fact] = [Fact(name="duration_days", value=400.0, sentence=7)]
    facts += [Fact(name=name, value=True, sentence=8) for name in ("most_days", "distress")]
    strict, lenient = knowledge.assess(evidence, facts), Knowledge.load(lenient=True).assess(evidence, facts)
    assert [finding.verdict for finding in strict] == ["provisional", "provisional"]
    assert [finding.verdict for finding in lenient] == ["met", "met"]
