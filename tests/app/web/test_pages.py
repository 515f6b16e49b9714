"""Every page in a real Chromium: what a user sees, clicks, and finds in the address."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from app.web.marks import quotes
from psyllm.records import Status
from psyllm.runs import Run
from tests.app.web.conftest import OpenPage, Viewer

pytestmark = pytest.mark.browser


def test_the_run_page_counts_as_status_does_and_leads_to_the_lists(shown: Viewer, opened: OpenPage) -> None:
    page = opened(shown.url)
    with Run(shown.folder) as run:
        counts, spend = run.status_counts(), run.spend()
    funnel = page.get_by_role("region", name="What became of the posts")
    for status in (Status.ACCEPTED, Status.REJECTED):
        row = funnel.get_by_role("listitem").filter(has_text=status)
        expect(row).to_contain_text(str(counts[status]))
    table = page.get_by_role("region", name="Calls by role")
    expect(table.get_by_role("row").filter(has_text="therapist")).to_contain_text(
        str(next(role.calls for role in spend if role.role == "therapist"))
    )
    expect(page.get_by_text("diagnose nobody and are no crisis service")).to_be_visible()
    expect(page.get_by_text("stand-in words by rule")).to_be_visible()
    funnel.get_by_role("link", name="rejected").click()
    expect(page).to_have_url(f"{shown.url}/dialogues?status=rejected")
    expect(page.locator("tbody tr")).to_have_count(len(shown.dialogues(Status.REJECTED)))


def test_a_filter_stands_in_the_address_and_can_be_gone_back_to(shown: Viewer, opened: OpenPage) -> None:
    page = opened(f"{shown.url}/dialogues")
    page.get_by_label("status").select_option("accepted")
    page.get_by_label("modality").select_option("act")
    page.get_by_role("button", name="Show").click()
    wanted = [d for d in shown.dialogues(Status.ACCEPTED) if d.plan is not None and d.plan.modality.chosen == "act"]
    assert wanted
    expect(page).to_have_url(re.compile(r"status=accepted.*modality=act"))
    expect(page.locator("tbody tr")).to_have_count(len(wanted))
    address = page.url
    page.locator("tbody a").first.click()
    expect(page.locator(".way").get_by_text(f"1 of {len(wanted)}", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_label("modality")).to_have_value("act")
    again = opened(address)
    expect(again.locator("tbody tr")).to_have_count(len(wanted))


def test_a_wrong_filter_names_what_is_wrong(shown: Viewer, opened: OpenPage) -> None:
    page = opened(f"{shown.url}/dialogues?status=splendid")
    expect(page.get_by_text("'splendid' does not exist")).to_be_visible()
    expect(page.get_by_text("screened_out")).to_be_visible()


def test_search_finds_a_word_and_leads_to_the_call_that_said_it(shown: Viewer, opened: OpenPage) -> None:
    turn = shown.dialogues(Status.ACCEPTED)[0].turns[0]
    word = max(re.findall(r"[a-z]+", turn.client[0].text), key=len)
    page = opened(f"{shown.url}/search")
    page.keyboard.type(f"{word}")
    page.get_by_label("said by").select_option("patient")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(rf"q={word}&role=patient"))
    expect(page.locator(".hits mark").first).to_have_text(re.compile(word, re.IGNORECASE))
    page.locator(".hits a").first.click()
    place = page.locator(page.url[page.url.index("#") :])
    expect(place).to_be_in_viewport()
    expect(place.locator("xpath=..")).to_contain_text(word)


def test_a_quote_in_the_reasoning_leads_to_the_words_that_the_client_said(shown: Viewer, opened: OpenPage) -> None:
    dialogue, words = next(
        (dialogue, words)
        for dialogue in shown.dialogues(Status.ACCEPTED)
        if dialogue.turns[0].reply and not dialogue.turns[0].drafts
        for _, _, words in quotes(dialogue.turns[0].reply.reasoning)
    )
    page = opened(f"{shown.url}/d/{dialogue.id}")
    page.locator("#r1 .reasoning a.mark", has_text=words).click()
    sentence = page.locator(page.url[page.url.index("#") :])
    expect(sentence).to_be_in_viewport()
    expect(sentence.locator(".mark.quote").first).to_be_visible()
    assert page.locator("#r1 .client .mark.quote").count() >= 1
    page.locator("#r1 .counsellor summary").click()
    expect(page.locator("#r1 .reasoning p")).to_be_hidden()


def test_the_critics_evidence_leads_to_the_sentence(shown: Viewer, opened: OpenPage) -> None:
    dialogue = next(
        d for d in shown.dialogues(Status.REJECTED) if d.reasons[0].role == "therapist" and d.reasons[0].detail
    )
    page = opened(f"{shown.url}/d/{dialogue.id}")
    page.locator(".why blockquote a").click()
    marked = page.locator(page.url[page.url.index("#") :])
    expect(marked).to_be_in_viewport()
    assert marked.inner_text().strip(" .") in dialogue.reasons[0].detail


def test_an_attempt_is_a_tab_that_shows_why_it_was_sent_back_and_what_changed(shown: Viewer, opened: OpenPage) -> None:
    dialogue, turn = next((d, t) for d in shown.dialogues() for t in d.turns if t.drafts)
    page = opened(f"{shown.url}/d/{dialogue.id}")
    talk = page.locator(f"#r{turn.round}")
    guidance = talk.locator(".counsellor .guidance").first
    expect(guidance).to_be_hidden()
    talk.get_by_role("radio", name="Attempt 1").focus()
    page.keyboard.press("Space")
    expect(guidance).to_contain_text(turn.drafts[0].critique.guidance.splitlines()[0])
    expect(talk.locator("del:visible").first).to_be_visible()
    expect(talk.locator("ins:visible").first).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(guidance).to_be_hidden()


def test_beside_a_turn_stand_both_systems_the_criteria_and_the_scores(shown: Viewer, opened: OpenPage) -> None:
    dialogue, turn = next((d, t) for d in shown.dialogues() for t in d.turns if t.findings and t.critique)
    page = opened(f"{shown.url}/d/{dialogue.id}")
    beside = page.get_by_role("complementary", name=f"Assessment after round {turn.round}")
    for finding in turn.findings:
        row = beside.get_by_role("row").filter(has_text={"dsm5tr": "DSM-5-TR", "icd11": "ICD-11"}[finding.system])
        expect(row.filter(has_text=finding.verdict).first).to_be_visible()
    assert turn.critique
    for name, score in turn.critique.scores.items():
        expect(beside.locator("dl > div").filter(has_text=name.replace("_", " "))).to_contain_text(str(score))


def test_the_raw_calls_hold_every_message_as_sent(shown: Viewer, opened: OpenPage) -> None:
    dialogue = shown.dialogues(Status.ACCEPTED)[0]
    with Run(shown.folder) as run:
        call = next(call for call in run.calls(dialogue.id) if call.node == "respond")
    page = opened(f"{shown.url}/d/{dialogue.id}#step-{call.position}")
    block = page.locator(f"#step-{call.position}").locator("xpath=..")
    expect(block).to_be_visible()
    texts = block.locator("pre").all_inner_texts()
    assert texts[: len(call.messages)] == [text for _, text in call.messages]
    assert call.reply in texts


def test_a_fork_is_a_branch_that_can_be_compared_with_its_parent(shown: Viewer, opened: OpenPage) -> None:
    fork = next(d for d in shown.dialogues() if d.forked_from)
    page = opened(f"{shown.url}/d/{fork.forked_from}")
    branches = page.get_by_role("region", name="Branches")
    expect(branches.get_by_role("link", name=fork.id[:8])).to_be_visible()
    branches.get_by_role("link", name="compare").click()
    expect(page).to_have_url(f"{shown.url}/compare?a={fork.forked_from}&b={fork.id}")
    expect(page.get_by_role("region", name="Side b")).to_contain_text(f"fork of {str(fork.forked_from)[:8]}")
    page.get_by_role("link", name="All steps").click()
    expect(page.get_by_text("the same call").first).to_be_visible()


def test_two_dialogues_side_by_side_differ_where_they_do(shown: Viewer, opened: OpenPage) -> None:
    a, b = shown.dialogues(Status.ACCEPTED)[:2]
    page = opened(f"{shown.url}/compare?a={a.id}&b={b.id}")
    first = page.get_by_role("region", name="Round 1").locator(".pair").filter(has_text="patient").first
    expect(first.locator("del:visible").first).to_be_visible()
    expect(first.locator("ins:visible").first).to_be_visible()
