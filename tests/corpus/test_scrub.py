import pytest

from corpus.scrub import scrub, scrubbed
from psyllm.records import Post


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mail jo.b+x@mail.example.co.uk, please", "mail [email], please"),
        ("see (https://example.org/a?b=1).", "see ([link])."),
        ("look at www.example.org/me, or example.com", "look at [link], or [link]"),
        ("it is me, u/jo-92 and @sam_k", "it is me, [user] and [user]"),
        ("ring 07700 900123 or (555) 123-4567 or +4915112345678.", "ring [phone] or [phone] or [phone]."),
        ("I live at 12 Baker Street, top floor", "I live at [address], top floor"),
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
    ],
)
def test_ordinary_numbers_and_slips_stay(text: str) -> None:
    assert scrub(text) == text


def test_a_post_is_scrubbed_everywhere() -> None:
    post = Post(id="a", title="@sam_k", text="a@b.org", metadata={"author": "u/jo", "score": 12345678})
    clean = scrubbed(post)
    assert (clean.title, clean.text, clean.metadata) == ("[user]", "[email]", {"author": "[user]", "score": 12345678})
