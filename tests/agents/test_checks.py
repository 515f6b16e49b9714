from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.checks import DETAIL, check_client, check_dialogue, check_plan, check_reply, guidance
from clinical import Knowledge
from prompts.library import Library, Modality
from psyllm.records import (
    CasePlan,
    ClientProfile,
    Emotion,
    ModalityChoice,
    Post,
    Reason,
    RejectedModality,
    Reply,
    Risk,
    RoundPlan,
    Scene,
    Sentence,
    Turn,
    Withheld,
)
from tests.agents.conftest import SYSTEMS, answer, codes, finding, judged, replied, turn

WORKED = Path(__file__).parents[2] / "examples" / "worked_dialogues.yaml"


def plan(**fields: Any) -> CasePlan:
    profile = {
        "history": "I moved here for a job that ended in the spring, and I have not told my brother yet.",
        "memories": (
            "The key still on its hook the morning my father left.",
            "Gran saying you always were the quiet one.",
        ),
        "core_beliefs": ("I am the one who gets left.",),
        "automatic_thoughts": ("Here it comes again.",),
        "coping": ("late films",),
        "disclosure": "Sideways, and last.",
        "resistance": "Jokes.",
        "builds_trust": "Plain answers.",
        "safety": "No wish to die.",
    }
    choice = ModalityChoice(
        chosen="cbt",
        reasons=("The key is a scene to work from.",),
        rejected=(RejectedModality(id="mi", why="Not torn."),),
    )
    sound: dict[str, Any] = {
        "emotion": Emotion(primary="shame", intensity=5),
        "presenting_problem": "Cannot tell the family about the lost job.",
        "scene": Scene(category="work_stress", detail="alone in a rented room"),
        "severity": "mild",
        "rounds": (RoundPlan(focus="the lie to my brother"), RoundPlan(focus="the key")),
        "modality": choice,
    }
    own = {name: fields.pop(name) for name in list(fields) if name in ClientProfile.model_fields}
    return CasePlan.model_validate(sound | fields | {"profile": ClientProfile.model_validate(profile | own)})


POST = Post(
    id="p",
    title="lost it",
    text="So I lost my job in spring and every Sunday I still tell my brother on the phone that work goes fine, lol.",
)

# ---------------------------------------------------------------- plan


def test_a_sound_plan_passes() -> None:
    assert check_plan(plan(), POST) == ()


@pytest.mark.parametrize(
    ("code", "fields", "words"),
    [
        (
            "profile_is_diagnosis",
            {"core_beliefs": ("Moderate major depressive disorder.",)},
            "major depressive disorder",
        ),
        ("profile_is_diagnosis", {"history": "Meets DSM-5-TR for GAD since the spring."}, "GAD"),
        ("profile_too_thin", {"memories": ("school", "a bad day")}, "no memory"),
        (
            "post_copied",
            {"history": "Every Sunday I still tell my brother on the phone that work goes fine, and then I cry."},
            "every sunday i still tell my brother on the phone that work",
        ),
        ("rounds_unfocused", {"rounds": (RoundPlan(focus="The key"), RoundPlan(focus="the key."))}, "the key"),
        ("modality_reason_generic", {"modality": ModalityChoice(chosen="cbt", reasons=("Fits.", "Fits."))}, "fits"),
        ("modality_reason_generic", {"modality": ModalityChoice(chosen="cbt", reasons=())}, "no reason"),
    ],
)
def test_a_flawed_plan_is_named(code: str, fields: dict[str, Any], words: str) -> None:
    reasons = check_plan(plan(**fields), POST)
    assert codes(reasons) == [code]
    (reason,) = reasons
    assert (reason.role, reason.round) == ("planner", 0)
    assert words in reason.detail


def test_a_plan_may_retell_the_post_and_name_what_the_post_names() -> None:
    retold = plan(
        history="Every Sunday I still tell my brother on the phone it is fine. They said OCD when I was nine."
    )
    posted = POST.model_copy(update={"text": POST.text + " I have ocd too."})
    assert check_plan(retold, posted) == ()
    assert codes(check_plan(retold, POST)) == ["profile_is_diagnosis"]


# ---------------------------------------------------------------- client

WITHHELD = {
    "withheld": (Withheld(from_round=3, what="The warning letter from work is still in my coat pocket, unopened."),)
}


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("therapist_speak", "I need to process my feelings and set some boundaries."),
        ("therapist_speak", "My coping strategies stopped working."),
        ("early_disclosure", "There's an unopened warning letter in my coat pocket, from work."),
        ("method_detail", "I would hang myself, I think."),
        ("method_detail", "When I want to die I count the pills in the drawer."),
        ("profile_leaked", "That's not in my profile, so I don't know."),
        ("profile_leaked", "As the client I would now get angry."),
    ],
)
def test_what_a_client_would_not_say_is_named(code: str, sentence: str) -> None:
    reasons = check_client(plan(**WITHHELD), [turn("Dunno.", sentence, n=2)])
    assert codes(reasons) == [code]
    assert (reasons[0].role, reasons[0].round) == ("patient", 2)


def test_a_client_may_say_a_withheld_thing_in_its_round_and_touch_on_it_before() -> None:
    letter = "There's an unopened warning letter in my coat pocket, from work."
    assert check_client(plan(**WITHHELD), [turn(letter, n=3)]) == ()
    assert check_client(plan(**WITHHELD), [turn("Work sent me something, it's in my coat.", n=2)]) == ()


@pytest.mark.parametrize(
    "sentence",
    [
        "I've got a trigger finger, ha.",
        "The doctor put me on pills for my back and I feel a bit overwhelmed.",
        "I don't want to be here any more, I think about killing myself.",
        "My profile picture is still us two.",
        "They're still going through the process for my visa.",
    ],
)
def test_plain_talk_passes(sentence: str) -> None:
    assert check_client(plan(), [turn(sentence)]) == ()


def test_the_third_thanks_is_too_compliant() -> None:
    said = ["Thank you, I feel lighter.", "Thanks, I tried it.", "You're right, it was that."]
    turns = [turn(text, n=n) for n, text in enumerate(said, 1)]
    assert check_client(plan(), turns[:2]) == ()
    assert codes(check_client(plan(), turns)) == ["too_compliant"]
    assert check_client(plan(), [*turns, turn("No.", n=4)]) == ()


# ---------------------------------------------------------------- reply

HEARD = ("I set four alarms and slept through every one of them.", "Mum says it’s “just laziness”, great.")


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("quote_not_verbatim", {"reasoning": 'He said "I slept through all of them". Insufficient.'}),
        ("verdict_absent", {"reasoning": "The alarms, then his mother. DSM-5-TR and ICD-11 come to mind."}),
        ("instruction_leak", {"reasoning": "Insufficient in both. I should avoid clinical terms and keep it brief."}),
        ("instruction_leak", {"reasoning": "Insufficient. The user wants warmth."}),
        ("instruction_leak", {"reasoning": "Insufficient. The hidden profile says more than he does."}),
        ("label_in_reply", {"text": "This could be major depressive disorder."}),
        ("label_in_reply", {"text": "You would need five of the criteria."}),
        ("label_in_reply", {"text": "They write F32.1 on the form for that."}),
        ("technique_unknown", {"technique": "dream_analysis"}),
        ("question_run", {"text": "Since when? How often? Who knows?"}),
        ("stock_opening", {"text": "It sounds like the alarms are winning."}),
        ("stock_opening", {"text": "I’m so sorry to hear that. The alarms first."}),
        ("stock_opening", {"text": "I´m so sorry to hear that. The alarms first."}),
        ("stock_opening", {"text": "Start anywhere you can bear to."}),
        ("repeated_reply", {"text": "Start anywhere you like."}),
        ("advice_pile_up", {"text": "You could try a walk. You might write it down. Avoid screens after nine."}),
        ("advice_pile_up", {"text": "Some ideas:\n- a walk\n- a bath\n- a friend"}),
        ("advice_pile_up", {"text": "You might try an earlier night, moving the alarm, and telling a friend."}),
        ("self_claim", {"text": "I've been there, four alarms too."}),
        ("self_claim", {"text": "As a therapist, I see alarms a lot."}),
        ("safety_forbidden", {"text": "Ring 0800 555 0199 if the night gets long."}),
        ("safety_forbidden", {"text": "The Samaritans are there at night."}),
        ("safety_forbidden", {"text": "Promise me you'll be here tomorrow."}),
    ],
)
def test_a_flawed_reply_is_named(knowledge: Knowledge, cbt: Modality, code: str, fields: dict[str, str]) -> None:
    reasons = judged(knowledge, cbt, turn(*HEARD, n=2), **fields)
    assert codes(reasons) == [code]
    assert (reasons[0].role, reasons[0].round) == ("therapist", 2)
    assert 0 < len(reasons[0].detail) <= DETAIL


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": '"I SET four alarms", and then “it\'s just laziness, great”. Not enough for any disorder.'},
        {"reasoning": 'I asked him to "start anywhere you like", and he did. Insufficient.'},
        {"reasoning": 'His "just laziness" is hers. I\'d meet him if we met a morning; provisional it is not.'},
        {"text": "When you were small, was it her sigh that woke you? Or the alarm?"},
        {"text": "Take the last morning. Notice the first minute. What was in it?"},
        {"text": "You don't owe me a promise, and it was 7 o'clock. Thank you for saying it. What then?"},
        {"text": 'You said "when I was little", and stopped there. What came after it?'},
        {"technique": "safety_protocol"},
    ],
)
def test_a_sound_reply_passes(knowledge: Knowledge, cbt: Modality, fields: dict[str, str]) -> None:
    assert judged(knowledge, cbt, turn(*HEARD, n=2), **fields) == ()


@pytest.mark.parametrize(
    ("reasoning", "claimed"),
    [
        ("The client clearly has major depressive disorder; the criteria are met.", True),
        ("PTSD is met under DSM-5-TR, and I stop there.", True),
        ("He meets the threshold for major depressive disorder.", True),
        ("For alcohol use disorder the verdict is: provisional.", True),
        ("Major depressive disorder is provisional in ICD-11.", True),
        ("Major depressive disorder is provisional in DSM-5-TR.", False),
        ("Insufficient in ICD-11, but in DSM-5-TR major depressive disorder stays provisional.", False),
        ("It would be tempting to say he has PTSD; nothing supports it.", False),
        ("Major depressive disorder is not met in either system.", False),
        ('"They told me I clearly have PTSD" is his brother talking. Nothing is supported yet.', False),
    ],
)
def test_a_verdict_beyond_the_engine_is_caught(
    knowledge: Knowledge, cbt: Modality, reasoning: str, claimed: bool
) -> None:
    found = (finding("mdd", "provisional"), finding("mdd", "insufficient", "icd11"))
    heard = turn("They told me I clearly have PTSD.", n=2, findings=found)
    reasons = judged(knowledge, cbt, heard, reasoning=f"{reasoning} Insufficient otherwise.")
    assert codes(reasons) == (["verdict_overclaimed"] if claimed else [])


def test_what_the_engine_calls_met_may_be_called_met(knowledge: Knowledge, cbt: Modality) -> None:
    heard = turn(*HEARD, n=2, findings=tuple(finding("mdd", "met", system) for system in SYSTEMS))
    reasoning = "Major depressive disorder is met in DSM-5-TR and in ICD-11."
    assert judged(knowledge, cbt, heard, reasoning=reasoning) == ()


# ---------------------------------------------------------------- the worked dialogues


def worked() -> Iterator[tuple[str, list[Turn], Turn, Reply, Reply | None]]:
    """Modality, turns before, turn now, kept reply, rejected reply."""
    for dialogue in yaml.safe_load(WORKED.read_text(encoding="utf-8"))["dialogues"]:
        before: list[Turn] = []
        for entry in dialogue["rounds"]:
            diagnosis = entry["diagnosis"]
            mode, engine = diagnosis["risk"]["mode"], diagnosis["engine"]
            now = Turn(
                round=entry["n"],
                client=tuple(Sentence(n=int(key[1:]), text=text) for key, text in entry["patient"].items()),
                findings=tuple(
                    finding(name, row[system], system) for name, row in engine.items() for system in SYSTEMS
                ),
                risks=tuple(Risk(domain=r["domain"], level=r["level"]) for r in diagnosis["risk"]["domains"]),
                mode=mode,
            )
            kept, rejected = (
                part and answer(reasoning=part["think"], technique=part["technique"], text=part["reply"])
                for part in (entry["therapist"], entry.get("rejected", {}).get("therapist"))
            )
            yield dialogue["plan"]["modality"]["chosen"], before, now, kept, rejected
            before = [*before, now.model_copy(update={"reply": kept})]


def test_every_worked_turn_passes(knowledge: Knowledge) -> None:
    library = Library()
    turns = list(worked())
    assert len(turns) == 18
    for modality, before, now, kept, _ in turns:
        assert check_client(plan(), [*before, now]) == ()
        assert check_reply(knowledge, library.modality(modality), [*before, now], kept) == ()
        assert check_dialogue([*before, now.model_copy(update={"reply": kept})]) == ()


def test_the_worked_rejection_is_caught(knowledge: Knowledge) -> None:
    ((modality, before, now, reply),) = ((m, b, n, rejected) for m, b, n, _, rejected in worked() if rejected)
    reasons = check_reply(knowledge, Library().modality(modality), [*before, now], reply)
    assert codes(reasons) == [
        "verdict_overclaimed",
        "verdict_absent",
        "instruction_leak",
        "stock_opening",
        "advice_pile_up",
    ]


# ---------------------------------------------------------------- dialogue

LONG = ("one two three four five six seven", "one two", "eight nine ten", "eleven")


@pytest.mark.parametrize(
    ("code", "turns"),
    [
        ("risk_dropped", [replied("A b c.", "x", mode="safety_first"), replied("D e f.", "y", n=2)]),
        ("personal_data", [replied("Write to jo@example.org then.", "x")]),
        ("personal_data", [replied("Hm.", "Ring me on (555) 123-4567.")]),
        ("no_movement", [replied("A.", "I can't.", "No."), replied("B.", "no", n=2)]),
        ("openings_repetitive", [replied("So the key stays.", "x"), replied("So the key, then?", "y", n=2)]),
        ("length_monotone", [replied(f"{n}.", f"{word} and this and that", n=n) for n, word in enumerate("abcd", 1)]),
    ],
)
def test_a_flawed_dialogue_is_named(code: str, turns: list[Turn]) -> None:
    reasons = check_dialogue(turns)
    assert codes(reasons) == [code]
    assert reasons[0].role == "dialogue"


def test_uneven_moving_dialogue_passes() -> None:
    turns = [replied(f"{text} it is.", text, n=n) for n, text in enumerate(LONG, 1)]
    assert check_dialogue(turns) == ()
    assert check_dialogue([]) == ()


# ---------------------------------------------------------------- guidance


def test_guidance_tells_a_role_its_own_faults_only(knowledge: Knowledge, cbt: Modality) -> None:
    reasons = judged(knowledge, cbt, turn(*HEARD, n=2), text="It sounds like PTSD.")
    leaked = Reason(code="early_disclosure", role="patient", detail="the letter in the coat")
    told = guidance([*reasons, leaked])
    assert "It sounds" in told
    assert "disorder name, code or jargon reaches the client: PTSD" in told
    assert "coat" not in told
    assert guidance([]) == ""
