"""The shortlist and the factors: what the client's words point at."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical import Knowledge
from clinical.cues import FEWEST, MOST
from psyllm.records import Evidence, Fact, Risk, Sentence, Turn

Say = Callable[..., list[Turn]]
KNOWLEDGE = Knowledge.load()
WORDS = st.sampled_from(
    [
        "I can't sleep",
        "I'm so tired",
        "my wife died",
        "I drink every night",
        "I worry",
        "my heart races",
        "I keep checking the door",
        "hm",
        "they all stare at me",
        "I threw up",
        "I'm down",
        "the crash",
        "I lost my job",
        "I hate my body",
        "mood swings",
        "my period",
    ]
)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=7))
def test_a_later_turn_only_adds_and_never_beyond_six(talk: list[list[str]]) -> None:
    turns = [Turn(round=i, client=tuple(Sentence(n=1, text=t) for t in said)) for i, said in enumerate(talk, start=1)]
    lists = [KNOWLEDGE.shortlist(turns[: n + 1]) for n in range(len(turns))]
    assert all(later[: len(earlier)] == earlier for earlier, later in itertools.pairwise(lists))
    assert 0 < len(lists[-1]) <= MOST
    assert len(set(lists[-1])) == len(lists[-1])


@pytest.mark.parametrize(
    ("words", "disorder"),
    [
        ("I've been hollow for weeks and nothing interests me.", "mdd"),
        ("I've felt low for as long as I can remember.", "pdd"),
        ("I was so high I hardly needed sleep and maxed out two cards.", "bipolar_1"),
        ("I can't switch it off, I worry about the kids, money, work.", "gad"),
        ("My heart pounds out of the blue and I can't breathe.", "panic"),
        ("I avoid buses and queues, I feel trapped.", "agoraphobia"),
        ("In meetings everyone is staring at me and I go red.", "social_anxiety"),
        ("I'm terrified of needles.", "specific_phobia"),
        ("I check the stove over and over until it feels right.", "ocd"),
        ("Since the crash I have flashbacks and I jump at noises.", "ptsd"),
        ("My stepfather beat me for years when I was little.", "cptsd"),
        ("Three days ago I was mugged and I'm in a daze.", "acute_stress"),
        ("Ever since the divorce I can't cope.", "adjustment"),
        ("My mother died in March, I still ring her number.", "prolonged_grief"),
        ("I lie awake until three, four nights a week.", "insomnia"),
        ("I lose my keys, forget appointments and never sit still.", "adhd_adult"),
        ("It's six cans a night now.", "aud"),
        ("I beg them not to leave me and then I hate them.", "bpd"),
        ("I weigh myself ten times a day and skip meals.", "anorexia"),
        ("I binge and then I make myself sick.", "bulimia"),
        ("I can't stop eating, I hide the wrappers.", "bed"),
        ("I'm convinced it's a brain tumour, I google all night.", "illness_anxiety"),
        ("The week before my period I turn into somebody else.", "pmdd"),
        ("I'm a bit low and on edge, both at once.", "mixed_dep_anx"),
    ],
)
def test_plain_words_put_a_disorder_on_the_list(knowledge: Knowledge, say: Say, words: str, disorder: str) -> None:
    assert disorder in knowledge.shortlist(say([words]))


def test_with_nothing_heard_the_commonest_are_listed(knowledge: Knowledge, say: Say) -> None:
    assert knowledge.shortlist(say(["Hm."])) == ("gad", "mdd")


def test_free_places_go_to_weak_cues_and_common_disorders(knowledge: Knowledge, say: Say) -> None:
    assert knowledge.shortlist(say(["I have been staring at the ceiling until four."])) == ("insomnia", "gad", "mdd")
    told = say(["It's ten days now.", "I cry every day, I don't eat, and I'm so tired I can't think."])
    assert knowledge.shortlist(told)[0] == "mdd" and len(knowledge.shortlist(told)) >= FEWEST


def test_what_a_turn_grounded_counts_from_the_next_one_on(knowledge: Knowledge, say: Say) -> None:
    first, second = say(["I'm empty."], ["I was called in by the ward once."])
    told = first.model_copy(update={"evidence": (Evidence(disorder="pmdd", criterion="B3", sentence=1),)})
    past = second.model_copy(update={"facts": (Fact(name="manic_history", value=True, sentence=2),)})
    listed = knowledge.shortlist([first])
    assert knowledge.shortlist([told]) == listed, "what came of a list cannot change it"
    assert knowledge.shortlist([told, second]) == (*listed, "pmdd")
    third = say(["a"], ["b"], ["Hm."])[2]
    assert "bipolar_1" not in knowledge.shortlist([told, second, third])
    assert "bipolar_1" in knowledge.shortlist([told, past, third])


def test_a_system_switched_off_is_not_listed(say: Say) -> None:
    words = say(["My stepfather beat me for years when I was little."])
    assert "cptsd" not in Knowledge.load(["dsm5tr"]).shortlist(words)


@pytest.mark.parametrize(
    ("words", "factor"),
    [
        ("We row every night and he's had an affair.", "relationship_problem"),
        ("I got made redundant on Friday.", "unemployment"),
        ("My thesis is due and I'm failing the module.", "academic_stress"),
        ("I'm so lonely, nobody writes first.", "loneliness"),
        ("I'm in debt and the rent is due.", "money_problem"),
        ("He hit me again.", "partner_violence"),
        ("I look after my mum, she has dementia.", "caregiver_strain"),
    ],
)
def test_what_is_no_disorder_is_heard(knowledge: Knowledge, say: Say, words: str, factor: str) -> None:
    found = knowledge.heard_factors(say([words]), ())
    assert factor in found
    assert "no_diagnosis" in found


def test_burnout_needs_all_three_signs(knowledge: Knowledge, say: Say) -> None:
    tired, cynical = "I'm exhausted by my job.", "I don't care any more about the clients, they're just numbers."
    assert "burnout" not in knowledge.heard_factors(say([tired, cynical]), ())
    assert "burnout" in knowledge.heard_factors(say([tired, cynical, "I make mistakes at work."]), ())


def test_an_open_verdict_leaves_no_no_diagnosis(knowledge: Knowledge, say: Say) -> None:
    evidence = [Evidence(disorder="ocd", criterion=c, sentence=1) for c in ("O1", "O2")]
    turns = say(["Hm."])
    risky = turns[0].model_copy(update={"risks": (Risk(domain="suicide", level=2),)})
    assert "no_diagnosis" not in knowledge.heard_factors(
        turns, knowledge.assess(evidence, [Fact(name="distress", value=True, sentence=1)])
    )
    assert knowledge.heard_factors([risky], ()) == ("no_diagnosis", "suicidality_code")
