"""Reading a run: the funnel, the training rows, one dialogue; and words that try to steer the terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from agents.checks import check_dialogue, check_reply
from clinical import Knowledge
from prompts.library import Library
from psyllm.journal import Journal
from psyllm.records import (
    Cleared,
    Critique,
    Decision,
    Dialogue,
    Finding,
    Post,
    Provenance,
    Reason,
    Refused,
    Reply,
    ReplyDraft,
    Risk,
    Sentence,
    Status,
    Turn,
)
from psyllm.runs import Run
from tests.app.conftest import Desk, Done
from tests.conftest import PSYLLM, clean_environment

ROLES = ("planner", "patient", "diagnostician", "therapist", "critic")


def number_after(label: str, text: str) -> int:
    found = re.search(rf"^{label} +(\d+)", text, re.MULTILINE)
    assert found, f"no line {label!r} in:\n{text}"
    return int(found[1])


def test_status_shows_the_funnel_the_reasons_and_the_tokens_of_each_role(grown: tuple[Desk, Done]) -> None:
    desk, done = grown
    shown = desk.psyllm("status", "run")
    assert (shown.returncode, shown.stderr) == (0, "")
    text = shown.stdout
    assert "run: 8 posts" in text
    with Run(desk.folder / "run") as run:
        dialogues = list(run.dialogues())
        rejected = [d for d in dialogues if d.status is Status.REJECTED]
        spend = {s.role: s for s in run.spend()}
    assert number_after("accepted", text) == len(dialogues) - len(rejected)
    assert number_after("rejected", text) == len(rejected)
    assert number_after("not done", text) == 0
    for role in ROLES:
        (line,) = (line for line in text.splitlines() if line.startswith(f"{role} "))
        assert int(line.split()[1]) == spend[role].calls
        assert f"{spend[role].prompt_tokens / 1000:.1f}k" in line
        assert "no price" in line
    assert "stand-in words" in text
    assert "crisis contacts nobody has checked (clinical/contacts.yaml): 988 Suicide & Crisis Lifeline" in text
    accepted = re.search(r"(\d+) accepted", done.stderr)
    assert accepted and int(accepted[1]) == number_after("accepted", text)


def test_a_rejected_dialogue_is_shown_with_its_reason_and_where_it_stands(desk: Desk) -> None:
    journal = Journal.open(desk.folder / "no", {}, "0")
    journal.add_posts([(0, Post(id="p", text="x"))])
    reason = Reason(code="template_trace", role="therapist", round=2, detail="as it were")
    provenance = Provenance(models={}, seed=0, software_version="0", source="s", license="l")
    journal.finish(Dialogue(id="d1", post_id="p", status=Status.REJECTED, reasons=(reason,), provenance=provenance))
    journal.close()
    text = desk.psyllm("status", "no").stdout
    assert re.search(r"1 +template_trace +therapist +same order, headings", text)
    text = desk.psyllm("trace", "show", "no", "p").stdout
    assert "rejected" in text
    assert "template_trace (therapist, round 2): as it were" in text


def test_status_cuts_nothing_off_on_a_terminal_of_80_columns(grown: tuple[Desk, Done]) -> None:
    desk, _ = grown
    narrow = desk.psyllm("status", "run", env={"COLUMNS": "80"}).stdout
    assert "by response mode" in narrow and "…" not in narrow
    beside = desk.psyllm("status", "run", env={"COLUMNS": "140"}).stdout
    assert re.search("by modality +by response mode", beside)


def test_status_of_a_run_under_way_counts_what_is_open(desk: Desk) -> None:
    journal = Journal.open(desk.folder / "more", {}, "0")
    journal.add_posts((n, Post(id=f"p{n}", text="x")) for n in range(3))
    journal.close()
    assert number_after("not done", desk.psyllm("status", "more").stdout) == 3


def test_exported_rows_are_the_served_prompt_and_spoken_words_with_their_reasoning(
    grown: tuple[Desk, Done], undisturbed: bytes
) -> None:
    desk, _ = grown
    rows = [json.loads(line) for line in undisturbed.decode().splitlines()]
    with Run(desk.folder / "run") as run:
        dialogues = {d.id: d for d in run.dialogues(Status.ACCEPTED)}
    assert [row["id"] for row in rows] == list(dialogues)
    system = Library().roles["counsellor"].render("system")
    for row in rows:
        first, *spoken = row["messages"]
        assert first == {"role": "system", "content": system}
        assert [m["role"] for m in spoken] == ["user", "assistant"] * len(dialogues[row["id"]].turns)
        for turn, user, assistant in zip(dialogues[row["id"]].turns, spoken[::2], spoken[1::2], strict=True):
            assert turn.reply is not None
            assert user == {"role": "user", "content": " ".join(s.text for s in turn.client)}
            assert assistant == {
                "role": "assistant",
                "reasoning_content": turn.reply.reasoning,
                "content": turn.reply.text,
            }
            assert turn.reply.reasoning
        assert row["rehearsal"] is True
        assert (row["source"], row["license"]) == ("psyllm examples", "CC0-1.0")


def test_crisis_contacts_stay_a_placeholder_in_training_rows(undisturbed: bytes) -> None:
    replies = [m["content"] for line in undisturbed.decode().splitlines() for m in json.loads(line)["messages"][1:]]
    assert any("{crisis_contacts}" in words for words in replies), "one of the eight posts speaks of dying"
    assert not any(re.search(r"\b(988|116 ?123|911|112)\b", words) for words in replies)


def test_one_dialogue_is_shown_with_reasoning_verdicts_and_critique(grown: tuple[Desk, Done]) -> None:
    desk, _ = grown
    with Run(desk.folder / "run") as run:
        accepted = next(d for d in run.dialogues(Status.ACCEPTED) if any(t.findings for t in d.turns))
    for name in (accepted.id[:6], accepted.post_id):
        text = " ".join(desk.psyllm("trace", "show", "run", name).stdout.split())
        assert f"dialogue {accepted.id}" in text
        for turn in accepted.turns:
            assert f"round {turn.round} " in text
            assert turn.reply is not None
            assert f"[{turn.reply.technique}]" in text
            assert " ".join(turn.reply.reasoning.split())[:60] in text
            for sentence in turn.client:
                assert f"s{sentence.n}" in text
            for finding in turn.findings:
                assert finding.verdict in text
    with Run(desk.folder / "run") as run:
        third = list(run.calls(accepted.id))[3]
    text = desk.psyllm("trace", "show", "run", accepted.id, "--step", "3").stdout
    for _, words in third.messages:
        assert "".join(words.split()) in "".join(text.split())
    assert "".join(third.reply.split()) in "".join(text.split())
    refused = desk.psyllm("trace", "show", "run", accepted.id, "--step", "999")
    assert (refused.returncode, "has no step 999" in refused.stderr) == (2, True)


def test_without_an_id_a_good_example_is_shown(grown: tuple[Desk, Done]) -> None:
    desk, _ = grown
    shown = desk.psyllm("trace", "show", "run")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "accepted   post ex-" in shown.stdout


HOSTILE = "[red]x[/red] [/] \x1b[5mblink\x1b[0m \x1b]0;title\x07 \x9b31m \r\x08 end"
SHOWN = "[red]x[/red] [/] [5mblink[0m ]0;title 31m  end"


def hostile_run(folder: Path) -> None:
    """A dialogue in which every text that a post or a model can choose is hostile."""
    critique = Critique(target="therapist", by="model", decision=Decision.ACCEPT, scores={"safety": 4})
    reply = Reply(reasoning=HOSTILE, technique=HOSTILE, text=HOSTILE)
    turn = Turn(
        round=1,
        client=(Sentence(n=1, text=HOSTILE),),
        findings=(Finding(disorder="mdd", name=HOSTILE, system="icd11", verdict="insufficient", why=HOSTILE),),
        risks=(
            Risk(
                domain=HOSTILE,
                level=2,
                cleared=(Cleared(sentence=1, kind="dark_joke", quote=HOSTILE, level=4),),
                refused=(Refused(sentence=7, kind="unwanted_thought", quote=HOSTILE, why="s7 is not of this turn"),),
            ),
        ),
        mode="explore",
        reply=reply,
        drafts=(ReplyDraft(reply=reply, critique=critique),),
        critique=critique,
    )
    dialogue = Dialogue(
        id="d1",
        post_id=HOSTILE,
        status=Status.REJECTED,
        reasons=(Reason(code="template_trace", role="therapist", round=1, detail=HOSTILE),),
        turns=(turn,),
        provenance=Provenance(models={}, seed=0, software_version="0", source=HOSTILE, license=HOSTILE),
    )
    journal = Journal.open(folder, {}, "0")
    journal.add_posts([(0, Post(id=HOSTILE, text=HOSTILE))])
    journal.finish(dialogue)
    journal.close()


@pytest.mark.parametrize("arguments", [("status",), ("trace", "show")])
def test_words_of_others_are_shown_as_they_are_and_steer_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    hostile_run(tmp_path / "[red]run[" / "]")
    desk = Desk(tmp_path)
    shown = desk.psyllm(*arguments, "[red]run[/]", *(["d1"] if arguments[0] == "trace" else []))
    assert (shown.returncode, shown.stderr) == (0, "")
    if arguments[0] == "trace":
        assert shown.stdout.count(SHOWN) >= 5
        flat = " ".join(shown.stdout.split())
        assert "s1 cleared from level 4 as dark joke" in flat
        assert "s7 not cleared as unwanted thought" in flat
    else:
        assert "[red]run[/]: 1 posts" in shown.stdout
    assert not {"\x1b", "\x07", "\x08", "\x9b", "\r"} & set(shown.stdout)


def test_on_a_terminal_only_our_own_colours_arrive(tmp_path: Path) -> None:
    hostile_run(tmp_path / "run")
    master, slave = pty.openpty()
    with subprocess.Popen(
        [PSYLLM, "trace", "show", "run", "d1"],
        cwd=tmp_path,
        env=clean_environment() | {"TERM": "xterm-256color"},
        stdout=slave,
    ) as process:
        os.close(slave)
        shown = b""
        try:
            while chunk := os.read(master, 65536):
                shown += chunk
        except OSError:
            pass
        os.close(master)
    assert process.returncode == 0
    assert b"\x1b[32m" in shown, "our own colours are there"
    assert b"\x1b[5m" not in shown
    assert b"\x1b]0;" not in shown
    assert "\x9b" not in shown.decode()


def test_hostile_posts_are_grown_like_any_other(desk: Desk) -> None:
    text = f"I have not slept since May and I look at her cup on the shelf every morning {HOSTILE}"
    desk.write("hostile.jsonl", json.dumps({"id": HOSTILE, "title": HOSTILE, "text": text, f"mood {HOSTILE}": 1}))
    grown = desk.psyllm("grow", "hostile.jsonl", "--run", "a/[/]")
    assert grown.returncode == 0, grown.stderr
    assert "next: psyllm status a/[/]" in grown.stderr
    wrong = desk.psyllm("grow", "hostile.jsonl", "hostile.jsonl", "--run", "a/[/]")
    assert "was used before" in wrong.stderr
    for shown in (grown, wrong, desk.psyllm("status", "a/[/]"), desk.psyllm("trace", "show", "a/[/]", HOSTILE)):
        assert "Traceback" not in shown.stderr
        assert not {"\x1b", "\x07", "\x08", "\x9b", "\r"} & set(shown.stdout + shown.stderr)


def test_no_exported_turn_fails_the_checks_of_an_honest_trace(grown: tuple[Desk, Done], undisturbed: bytes) -> None:
    desk, _ = grown
    knowledge, library = Knowledge.load(), Library()
    exported = {json.loads(line)["id"] for line in undisturbed.decode().splitlines()}
    with Run(desk.folder / "run") as run:
        talks = [dialogue for dialogue in run.dialogues() if dialogue.id in exported]
    assert talks
    for talk in talks:
        assert talk.plan is not None
        modality = library.modality(talk.plan.modality.chosen)
        for n, turn in enumerate(talk.turns, 1):
            assert turn.reply is not None
            assert check_reply(knowledge, modality, talk.turns[:n], turn.reply) == ()
        assert check_dialogue(talk.turns) == ()
