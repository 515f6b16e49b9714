"""The screen, the grade and what it asks of a reply."""

from collections.abc import Callable

import pytest

from clinical import Knowledge
from psyllm.records import Mode, Reply, Risk, Sentence, Turn

Say = Callable[..., list[Turn]]


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (1, "I'm so tired of living."),
        (1, "Some nights I don’t want to wake up."),
        (1, "They'd be better off without me."),
        (1, "I just want to end it."),
        (1, "Suicide."),
        (1, "I wish I was dead."),
        (1, "I've never wanted to die more in my life."),
        (1, "I don't want to live but I don't want to die."),
        (1, "There is no reason to stay alive."),
        (2, "I wanna kill myself"),
        (2, "I never thought about suicide until now, but I keep thinking of suicide."),
        (2, "I can't go a day without thoughts of suicide."),
        (2, "I tried to kill myself when I was sixteen."),
        (3, "I keep thinking of [METHOD]."),
        (3, "I think about killing myself and I've been looking up how."),
        (4, "I think I'm going to kill myself."),
        (5, "I'm going to kill myself tonight."),
        (5, "I've written my goodbye letters."),
        (6, "I tried to kill myself last week."),
        (6, "I took a whole bottle of pills."),
        (0, "My phone died."),
        (0, "I'm killing it at work."),
        (0, "I'm dead tired."),
        (0, "This job is killing me."),
        (0, "I was dying to see her."),
        (0, "I don't want to die, I just want to be less rubbish at this."),
        (0, "I'm not suicidal."),
        (0, "No, I'd never kill myself."),
        (0, "I'm tired of living with my parents."),
        (0, "We decided to end it with him on good terms."),
        (0, "My grandfather died in spring."),
        (0, "I can't promise I'll do the homework."),
    ],
)
def test_the_screen(knowledge: Knowledge, level: int, words: str) -> None:
    assert knowledge.screen.level(words, "suicide") == level


def test_words_that_count_only_once_the_level_is_raised(knowledge: Knowledge, say: Say) -> None:
    plain = knowledge.grade([], say(["I can't promise you anything."]))
    raised = knowledge.grade([], say(["I think about killing myself."], ["I can't promise you anything."]))
    assert (plain[0].level, raised[0].level) == (0, 4)
    assert raised[0].sentences == (2,)


def test_one_risk_a_domain_is_always_there(knowledge: Knowledge, say: Say) -> None:
    (risk,) = knowledge.grade([], say(["Hi."]))
    assert (risk.domain, risk.level, risk.mode, risk.sentences) == ("suicide", 0, "ordinary", ())


def test_the_higher_of_screen_and_proposal_wins(knowledge: Knowledge, say: Say) -> None:
    turns = say(["I wanna kill myself.", "I've picked the day."])
    lower = [Risk(domain="suicide", level=0)]
    higher = [Risk(domain="suicide", level=5, sentences=(2,))]
    assert knowledge.grade(lower, turns)[0].level == 2
    assert knowledge.grade(higher, turns)[0] == Risk(domain="suicide", level=5, sentences=(2,), mode="emergency")


def test_a_proposal_without_a_sentence_only_raises_explore(knowledge: Knowledge, say: Say) -> None:
    (risk,) = knowledge.grade([Risk(domain="suicide", level=6, sentences=(7,))], say(["Hi."]))
    assert (risk.level, risk.mode) == (1, "explore")


def test_a_level_never_drops(knowledge: Knowledge, say: Say) -> None:
    first, second = say(["It is all too much."], ["I feel fine now, lol."])
    reached = Risk(domain="suicide", level=3, sentences=(1,), mode="safety_first")
    (risk,) = knowledge.grade([], [first.model_copy(update={"risks": (reached,)}), second])
    assert risk == reached


def test_the_mode_asks_for_its_protocol(knowledge: Knowledge) -> None:
    emergency = [Risk(domain="suicide", level=5, sentences=(1,), mode="emergency")]
    must, must_not = knowledge.protocol(emergency)
    assert knowledge.mode(emergency) == "emergency"
    assert any("{crisis_contacts}" in line for line in must)
    assert any("emergency" in line for line in must)
    assert any("contract" in line for line in must_not)
    assert must_not[-1] == "go deeper than contact and safety"
    assert knowledge.protocol([Risk(domain="suicide", level=0)]) == ((), ())
    assert knowledge.protocol([]) == ((), ())
    assert knowledge.mode([]) == "ordinary"


def test_a_graver_mode_locks_more(knowledge: Knowledge) -> None:
    names: tuple[Mode, ...] = ("ordinary", "explore", "safety_first", "emergency")
    modes = [knowledge.locked_classes(mode) for mode in names]
    assert modes[0] == frozenset()
    assert "deep_interpretation" in modes[1]
    assert "exposure" not in modes[1]
    assert {"exposure", "deep_interpretation"} <= modes[2] <= modes[3]


@pytest.mark.parametrize(
    ("domain", "level", "words"),
    [
        ("self_harm", 1, "I get the urge to cut myself."),
        ("self_harm", 2, "I've started cutting again."),
        ("self_harm", 3, "The cut is too deep and won't stop bleeding."),
        ("self_harm", 0, "I cut myself shaving."),
        ("violence_to_others", 1, "I want to punch him."),
        ("violence_to_others", 2, "I'm going to hurt my ex."),
        ("violence_to_others", 0, "I could've strangled him lol"),
        ("violence_to_others", 0, "I'd never hurt anyone."),
        ("abuse", 1, "I was beaten as a child."),
        ("abuse", 2, "He hits me when he drinks."),
        ("abuse", 3, "Last night he choked me."),
        ("abuse", 0, "My brother beat me at chess."),
        ("psychosis", 1, "I heard my name and nobody was there."),
        ("psychosis", 2, "The neighbours are poisoning me."),
        ("psychosis", 3, "The voices tell me to hurt him."),
        ("psychosis", 0, "I left a voice message."),
        ("psychosis", 0, "I don't hear voices."),
        ("mania", 1, "I hardly need sleep, two hours and I feel amazing."),
        ("mania", 2, "I haven't slept for four days and I feel invincible."),
        ("mania", 0, "I've never been high or wired."),
        ("intoxication_withdrawal", 1, "Been drinking since about four if that matters."),
        ("intoxication_withdrawal", 2, "I get the shakes when I stop drinking."),
        ("intoxication_withdrawal", 3, "I had a seizure after I stopped drinking."),
        ("intoxication_withdrawal", 0, "And no, no shakes or sweats or any of that when I stopped, before you ask."),
        ("eating_medical", 1, "I make myself sick after dinner."),
        ("eating_medical", 2, "I make myself sick every day."),
        ("eating_medical", 3, "I've been throwing up blood."),
        ("eating_medical", 0, "We binged a series."),
    ],
)
def test_the_screens_of_the_other_domains(knowledge: Knowledge, domain: str, level: int, words: str) -> None:
    assert knowledge.screen.level(words, domain) == level


def test_a_raised_domain_stands_beside_suicide(knowledge: Knowledge, say: Say) -> None:
    found = knowledge.grade([], say(["He hits me when he drinks."]))
    assert [(risk.domain, risk.level) for risk in found] == [("suicide", 0), ("abuse", 2)]
    assert knowledge.mode(found) == "safety_first"
    must, must_not = knowledge.protocol(found)
    assert any("not their fault" in line for line in must)
    assert any("couples" in line for line in must_not)


@pytest.mark.parametrize(
    ("question", "answer", "level"),
    [
        ("Are you thinking of killing yourself?", "Yes.", 2),
        ("That is a lot. Do you have thoughts of suicide?", "Ok, yes, it is.", 2),
        ("Do you sometimes think of dying?", "Sometimes, most nights.", 1),
        ("Are you thinking of killing yourself?", "No, God, just left alone.", 0),
        ("Are you thinking of killing yourself? And what was the kettle doing?", "Yes.", 0),
        ("What was the kettle doing?", "Yes, boiling.", 0),
    ],
)
def test_a_yes_to_a_plain_question_counts_in_full(knowledge: Knowledge, question: str, answer: str, level: int) -> None:
    first = Turn(
        round=1, client=(Sentence(n=1, text="It is late."),), reply=Reply(reasoning="r", technique="t", text=question)
    )
    second = Turn(round=2, client=(Sentence(n=2, text=answer), Sentence(n=3, text="Anyway.")))
    (suicide,) = (risk for risk in knowledge.grade((), (first, second)) if risk.domain == "suicide")
    assert (suicide.level, suicide.sentences) == (level, (2,) if level else ())
