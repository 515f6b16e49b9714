import pytest

from corpus.screen import screen
from psyllm.records import Post


@pytest.mark.parametrize(
    "text",
    [
        "Ich kann seit Wochen nicht mehr schlafen und weiß nicht mehr weiter.",
        "Je ne sais plus quoi faire, mon mari ne me parle plus depuis des mois",
        "No puedo dormir desde hace semanas y no sé qué hacer con mi vida",
        "我已经几个星期睡不着了，不知道该怎么办，我很难过，每天都很累，没有人懂我，也不知道可以跟谁说这件事情。",
        "Gestern hat mein Chef gesagt, ich soll das Meeting canceln und mich im Office mehr committen, ich mag nicht",
    ],
)
def test_other_languages_are_screened_out(text: str) -> None:
    reason = screen(Post(id="a", text=text))
    assert reason is not None
    assert (reason.code, reason.role) == ("post_not_english", "run")


@pytest.mark.parametrize(
    "text",
    [
        "idk man cant sleep cant eat whats even the point lol",
        "my abuela passed in feb and every domingo i still set her plate",
        "ugh. again. 3am. ceiling. phone. ceiling. why am i like this",
        "dropped out in feb 2016, from februari till september i did literally nothing",
        "I dnt kno how 2 tell my mam im failin all ma exams agen",
    ],
)
def test_odd_english_stays(text: str) -> None:
    assert screen(Post(id="a", text=text)) is None


def test_too_short_counts_title_and_text() -> None:
    reason = screen(Post(id="a", title="help", text="I am so very sad today"))
    assert reason is not None
    assert (reason.code, reason.detail) == ("post_too_short", "7 words, at least 8 needed")
    assert screen(Post(id="a", title="help me", text="I am so very sad today")) is None
