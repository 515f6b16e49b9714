"""Corpora side by side: the figures are those of the data, and the page needs nothing but itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import pytest

from psyllm.records import Critique, Decision, Finding, Reply, Sentence, Turn
from tests.conftest import Psyllm
from tests.corpus.conftest import Grown, dialogue

HOSTILE = '<script>alert("x")</script>'


def talk(number: int, think: str, reply: str) -> Turn:
    return Turn(
        round=1,
        client=(Sentence(n=1, text=f"I cannot sleep at night since May, number {number}."),),
        findings=(Finding(disorder="insomnia", name="Insomnia", system="dsm5tr", verdict="insufficient", why="w"),),
        reply=Reply(reasoning=think, technique="x", text=reply),
    )


@pytest.fixture
def two_corpora(tmp_path: Path, run_of: Grown) -> None:
    run_of(
        [
            dialogue(1, talk(1, 'DSM-5-TR: "cannot sleep at night" is too little.', "What changed in May?")),
            dialogue(2, talk(2, 'She said "I am very sad".', "Tell me about the nights."), modality="act"),
        ]
    )
    published = {
        "patient": "I am tired.",
        "counselor_think": "A humanistic approach. I must keep it under 50 words and avoid clinical terms.",
        "counselor_content": "It sounds like you are worn out. Call a hotline? What else?",
    }
    line = {"post_id": "1", "file": "LRF", "conversation": [published, published]}
    (tmp_path / "psy.jsonl").write_text(json.dumps(line) + "\n")


def marked(turn: Turn, *markers: str, anti: tuple[str, ...] = (), by: Literal["model", "person"] = "model") -> Turn:
    said = Critique(target="therapist", by=by, decision=Decision.ACCEPT, markers=markers, anti=anti)
    return turn.model_copy(update={"critique": said})


def test_markers_are_counted_by_code_and_told_by_the_critics_word(
    tmp_path: Path, run_of: Grown, psyllm: Psyllm
) -> None:
    advice = "You should drink less. Don't worry, it will get better."
    one = talk(1, "t", f"{advice} What changed in May?")
    two = talk(2, "t", "Tell me about the nights.").model_copy(update={"round": 2})
    run_of(
        [
            dialogue(1, marked(one, "F0a", "MI2", anti=("MIx2",)), marked(two, "F0a"), modality="mi"),
            dialogue(2, marked(talk(3, "t", advice), "CBT3"), modality="cbt"),
            dialogue(3, marked(talk(4, "t", "Take your time."), by="person"), modality="home_made"),
            dialogue(4, marked(talk(5, "t", "Take your time. What then?"), "HM1"), modality="home_made"),
        ]
    )
    rows = [{"role": "user", "content": "I drink."}, {"role": "assistant", "content": advice}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "1", "messages": rows}) + "\n")
    done = psyllm("corpus", "stats", "run", "rows.jsonl", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    code, _, critic = done.stdout.partition("markers by the critic's word")
    for label, expected in {
        "F0b asks one question": ["40%", "0.0%"],
        "X0c (fault) reassures with a set phrase": ["40%", "100%"],
        "MIx2 (fault) gives advice": ["50%", "100%"],
    }.items():
        assert figures(code, label) == expected, f"{label}: a school's own marker is counted on its own replies"
    for label, expected in {
        "MI2 at least one complex reflection": ["50%", "-"],
        "MIx2 (fault) advice out of the righting reflex": ["50%", "-"],
        "HM1": ["100%", "-"],
    }.items():
        assert figures(critic, label) == expected, label
    assert "50%" in re.sub(r"\s+", " ", critic).partition("F0a reflects")[2][:80], "2 of the 4 that a model read"
    assert "checked by nobody" in " ".join(critic.split())
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "markers that code counts" in page and "the word of the model that played the critic" in page


def figures(text: str, label: str) -> list[str]:
    found = re.search(rf"^{re.escape(label)} +(\S+) +(\S+)", text, re.MULTILINE)
    assert found, f"no line {label!r} in:\n{text}"
    return [found[1], found[2]]


def test_the_figures_are_those_of_the_data(two_corpora: None, psyllm: Psyllm) -> None:
    done = psyllm("corpus", "stats", "run", "psy.jsonl")
    assert done.returncode == 0, done.stderr
    for label, expected in {
        "dialogues": ["2", "1"],
        "exchanges a dialogue": ["1.0", "2.0"],
        "words of the client, a turn": ["9.0", "3.0"],
        "trace names DSM or ICD": ["50%", "0.0%"],
        "trace quotes the client": ["100%", "0.0%"],
        "quotes that are verbatim": ["50%", "-"],
        "trace leaks instructions": ["0.0%", "100%"],
        "reply opens with a stock phrase": ["0.0%", "100%"],
        "reply points to a crisis service": ["0.0%", "100%"],
        "reply asks something": ["50%", "100%"],
        "questions a reply": ["0.50", "2.00"],
        "act": ["50%", "-"],
        "person_centred": ["0.0%", "100%"],
        "insufficient": ["100%", "-"],
        "accepted": ["100%", "-"],
    }.items():
        assert figures(done.stdout, label) == expected, label


def test_the_page_needs_nothing_but_itself_and_words_of_others_are_no_markup(
    tmp_path: Path, two_corpora: None, psyllm: Psyllm
) -> None:
    folder = tmp_path / f"{HOSTILE.replace('/', '')}$x$"
    (tmp_path / "run").rename(folder)
    done = psyllm("corpus", "stats", folder, "psy.jsonl", "--html", "page.html", "--figures", "figures")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == len(list((tmp_path / "figures").glob("*.svg"))) >= 6
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} >= {"modality", "rates", "rounds", "lengths"}
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page.replace("xlink:href", "href"))
    again = psyllm("corpus", "stats", "psy.jsonl", "--html", "page.html")
    assert (again.returncode, "page.html exists" in again.stderr) == (2, True)


def test_an_export_has_the_figures_of_its_run(two_corpora: None, psyllm: Psyllm) -> None:
    assert psyllm("export", "run", "--out", "hf", "--format", "hf").returncode == 0
    done = psyllm("corpus", "stats", "run", "hf")
    for label in ("words of a reply", "quotes that are verbatim", "act", "distinct-1"):
        one, other = figures(done.stdout, label)
        assert one == other


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"prompt": [], "completion": []}, "no whole conversation"),
        ({"conversation": [{"patient": "x"}]}, "not what openr1-psy rows look like"),
        ({"conversation": []}, "holds no conversation"),
    ],
)
def test_what_holds_no_conversation_is_refused(
    tmp_path: Path, psyllm: Psyllm, line: dict[str, object], words: str
) -> None:
    (tmp_path / "odd.jsonl").write_text(json.dumps(line) + "\n")
    done = psyllm("corpus", "stats", "odd.jsonl")
    assert (done.returncode, words in " ".join(done.stderr.split())) == (2, True), done.stderr
