import pytest

from bench import scrub as bench
from corpus.ages import minor
from corpus.scrub import Scrubber, scrub_id


def scrub(text: str) -> str:
    return Scrubber([text]).scrub(text)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mail jo.b+x@mail.example.co.uk, please", "mail [EMAIL_1], please"),
        ("see (https://example.org/a?b=1).", "see ([LINK_1])."),
        ("look at www.example.org/me, or example.com", "look at [LINK_1], or [LINK_2]"),
        ("it is me, u/jo-92 and @sam_k", "it is me, [USER_1] and [USER_2]"),
        ("my discord is owl#1234, insta: paper_cat.9", "my discord is [USER_1], insta: [USER_2]"),
        ("ring 07700 900123 or (555) 123-4567 or +4915112345678.", "ring [PHONE_1] or [PHONE_2] or [PHONE_3]."),
        ("I live at 12 Baker Street, top floor", "I live at [ADDRESS_1], top floor"),
        ("my sister Aoife and Dr. Okonkwo", "my sister [NAME_1] and Dr. [NAME_2]"),
        ("I work at Harrow Mills, before that for walmart", "I work at [WORKPLACE_1], before that for walmart"),
        ("a nurse at St. Mary's Hospital", "a nurse at [WORKPLACE_1]"),
        ("14 november was my birthday, turned 39", "[BIRTHDAY_1] was my birthday, turned 39"),
        (
            "My 40th birthday is on May 3rd; born 12 March 1986",
            "My 40th birthday is on [BIRTHDAY_1]; born [BIRTHDAY_2]",
        ),
        ("my birthday was bad, in March it rained", "my birthday was bad, in March it rained"),
        ("my son is 6 and my daughter (15) hides", "my son is [CHILD_AGE_1] and my daughter ([TEEN_AGE_1]) hides"),
    ],
)
def test_personal_data_is_replaced(text: str, clean: str) -> None:
    assert scrub(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "I slept 3 4 hours, from 12 to 14, on 12.03.2019 and 2019-03-12.",
        "Between 2015-2019 I earned 1,200,000 and owed $150000 of it; r/depression did not help and/or did.",
        "PHQ scores 19 21 18 20 17, then 9/10, at 10:30 - 11:45.",
        "My boss...he said what.now? I waited 5 years @ home.",
        "Zoloft 50mg, then Lamictal 200, for 8 weeks; my doctor said Bipolar II, and I'm 34.",
        "Don’t. In May I will hope, in June my faith was gone. I was 14 when it began, 12 years ago.",
        "I have Tourette's and PTSD, I'm 15 weeks pregnant and 17 days sober.",
    ],
)
def test_what_a_case_is_understood_by_stays(text: str) -> None:
    assert scrub(text) == text


def test_an_id_that_names_somebody_becomes_a_hash() -> None:
    assert scrub_id("jo@example.org").startswith("post-")
    assert scrub_id("07700 900123").startswith("post-")
    assert scrub_id("Aoife_3") == scrub_id("Aoife_3") != "Aoife_3"
    assert [scrub_id(name) for name in ("a1", "ex-02-mums-voicemail", "3f79bb7b435b")] == [
        "a1", "ex-02-mums-voicemail", "3f79bb7b435b"]  # fmt: skip


def test_one_person_is_one_placeholder_in_title_and_text() -> None:
    title, text = "Jake again", "my ex Jake Miller called. Miller! Priya says block jake. jo@x.org and jo@x.org"
    scrubber = Scrubber([title, text])
    assert scrubber.scrub(title) == "[NAME_1] again"
    assert scrubber.scrub(text) == (
        "my ex [NAME_1] called. [NAME_1]! [NAME_2] says block jake. [EMAIL_1] and [EMAIL_1]"
    )
    assert scrubber.counts["NAME"] == 4


def test_scrubbing_twice_changes_nothing_and_new_numbers_follow() -> None:
    once = scrub("my sister Aoife, u/a_b1, my son (6), I work at Harrow Mills")
    assert scrub(once) == once
    assert scrub(f"{once}. My friend Priya") == f"{once}. My friend [NAME_2]"


@pytest.mark.parametrize(
    "text",
    [
        *("17f lost", "I'm 15 and", "Im a 16 year old", "I'm in 9th grade", "I turn 16 next week"),
        *(
            "Just turned 16 and",
            "I'm fifteen.",
            "I'm a Christian teenage girl",
            "I'm a minor, so",
            "I'm in high school",
        ),
    ],
)
def test_minors_are_known_by_their_own_words(text: str) -> None:
    assert minor(text)


@pytest.mark.parametrize(
    "text",
    [
        *("34m", "I was 15 and", "I'm 15 minutes late", "my son is 12", "since I was a 16 year old"),
        *("She just turned 16.", "I'm a high school teacher", "I'm a minor nuisance", "I'm raising a teenager"),
    ],
)
def test_others_are_no_minors(text: str) -> None:
    assert not minor(text)


def test_an_age_in_letters_goes_too() -> None:
    assert scrub("I'm fifteen, my son is 6.") == "I'm [TEEN_AGE_1], my son is [CHILD_AGE_1]."


def test_the_labelled_set_is_found_as_docs_say() -> None:
    """docs/intake.md: nine in ten of 201 planted items, and hardly a word too many."""
    counts = bench.measure(bench.ours, list(bench.posts()))
    planted, found, taken, false = (
        sum(c[name] for c in counts.values()) for name in ("planted", "found", "taken", "false")
    )
    assert planted >= 200
    assert found / planted >= 0.91
    assert false / taken <= 0.02
