"""Review with the keyboard, and a run that waits for it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from psyllm.labels import Labels
from psyllm.records import Status
from tests.app.conftest import Desk, until
from tests.app.web.conftest import OpenPage, Viewer, viewing

pytestmark = pytest.mark.browser


def test_a_dialogue_is_read_and_judged_without_a_mouse(own: Viewer, opened: OpenPage) -> None:
    first, second = own.dialogues()[:2]
    page = opened(f"{own.url}/d/{first.id}")
    page.keyboard.press("j")
    expect(page.locator("#r1")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("#r2")).to_be_focused()
    page.keyboard.press("k")
    expect(page).to_have_url(f"{own.url}/d/{first.id}#r1")
    page.keyboard.press("c")
    page.keyboard.type("jar, karf? A tidy ending.")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.locator(".said-of")).to_contain_text("jar, karf? A tidy ending.")
    (label,) = Labels(own.folder).all()
    assert (label.dialogue_id, label.verdict, label.comment) == (first.id, "reject", "jar, karf? A tidy ending.")
    page.keyboard.press("Shift+J")
    expect(page).to_have_url(f"{own.url}/d/{second.id}")
    page.keyboard.press("a")
    expect(page.locator(".said-of .accept")).to_be_visible()
    page.keyboard.press("f")
    expect(page.locator(".said-of li")).to_have_count(2)
    assert Labels(own.folder).latest()[second.id].verdict == "flag"
    page.keyboard.press("Shift+K")
    expect(page).to_have_url(f"{own.url}/d/{first.id}")


def test_n_goes_to_the_next_failure_and_the_question_mark_lists_the_keys(own: Viewer, opened: OpenPage) -> None:
    dialogues = own.dialogues()
    failure = next(d for d in dialogues if d.status in (Status.REJECTED, Status.FAILED))
    page = opened(f"{own.url}/d/{dialogues[0].id}")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("next one rejected or failed")
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(f"{own.url}/d/{dialogues[0].id}")
    page.keyboard.press("n")
    expect(page).to_have_url(f"{own.url}/d/{failure.id}")


def test_the_name_is_remembered_and_a_list_can_be_filtered_by_review(own: Viewer, opened: OpenPage) -> None:
    dialogue = own.dialogues()[0]
    page = opened(f"{own.url}/d/{dialogue.id}")
    page.get_by_label("Your name").fill("Zoë <b>")
    page.get_by_role("button", name="Flag").click()
    expect(page.get_by_label("Your name")).to_have_value("Zoë <b>")
    page.goto(f"{own.url}/dialogues?label=flag")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody .label")).to_have_text("flag")
    expect(page.locator("tbody .label")).to_have_attribute("title", "Zoë <b>")


def test_a_run_waits_for_a_person_and_goes_on_with_what_they_say(tmp_path: Path, opened: OpenPage) -> None:
    desk = Desk(tmp_path)
    posts = (Path(__file__).parents[3] / "examples" / "posts.jsonl").read_text(encoding="utf-8").splitlines()
    desk.write("posts.jsonl", "\n".join(posts[:2]))
    command = ("grow", "posts.jsonl", "--run", "run", "--review")
    with desk.start(*command) as growing:
        until(growing, lambda: desk.count("dialogues WHERE status = 'in_review'") == 2)
        paid = desk.count("calls")
        growing.send_signal(signal.SIGINT)
        assert growing.wait(timeout=20) == 130
    with desk.start(*command) as growing, viewing(tmp_path / "run") as viewer:
        page = opened(f"{viewer.url}/dialogues?status=in_review")
        expect(page.locator("tbody tr")).to_have_count(2)
        page.locator("tbody a").first.click()
        expect(page.get_by_text("The run waits for you")).to_be_visible()
        page.wait_for_load_state()  # the keys are the script's
        page.keyboard.press("a")
        until(growing, lambda: desk.count("dialogues WHERE status = 'accepted'") == 1)
        assert desk.count("calls") == paid, "a walk from the journal costs nothing"
        page.goto(f"{viewer.url}/dialogues?status=in_review")
        page.locator("tbody a").first.click()
        page.get_by_role("button", name="Send back").click()
        expect(page.get_by_text("revise needs a comment")).to_be_visible()
        page.go_back()
        page.get_by_label("Comment").fill("Stay with the shoes by the door.")
        page.get_by_label("Redo round").select_option("1")
        page.get_by_role("button", name="Send back").click()
        until(growing, lambda: desk.count("calls") > paid)
        address = page.url.partition("#")[0]
        until(growing, lambda: bool(viewer.dialogues(Status.IN_REVIEW)[0].turns[0].drafts))
        page.goto(address)
        page.locator("#r1 .versions > label").nth(-2).click()
        expect(page.locator("#r1 .verdict-back:visible")).to_contain_text("by a reviewer")
        expect(page.locator("#r1 .verdict-back:visible")).to_contain_text("Stay with the shoes by the door.")
        page.get_by_label("Comment").fill("still not")
        page.get_by_role("button", name="Reject").click()
        expect(page.locator(".said-of .reject")).to_be_visible()
        assert growing.wait(timeout=60) == 0
        (rejected,) = viewer.dialogues(Status.REJECTED)
        assert [(reason.code, reason.detail) for reason in rejected.reasons] == [("rejected_by_person", "still not")]


def test_psyllm_review_says_what_cannot_be_kept(own: Viewer, tmp_path: Path) -> None:
    desk, dialogue = Desk(tmp_path), own.dialogues()[0]
    wrong = desk.psyllm("review", "run", dialogue.id, "splendid")
    assert wrong.returncode == 2
    assert "accept, reject, flag, revise" in wrong.stderr
    late = desk.psyllm("review", "run", dialogue.id, "revise", "--comment", "again")
    assert late.returncode == 2
    assert "trace fork" in late.stderr
    done = desk.psyllm("review", "run", dialogue.id[:8], "accept", "--comment", "good", "--by", "AB")
    assert done.returncode == 0
    assert Labels(own.folder).latest()[dialogue.id].reviewer == "AB"
