"""A page that is open while the run grows keeps up by itself."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.app.conftest import Desk, until
from tests.app.web.conftest import OpenPage, viewing

pytestmark = pytest.mark.browser


def test_the_run_page_and_the_list_follow_a_growing_run(desk: Desk, opened: OpenPage) -> None:
    slow = ("grow", "posts.jsonl", "--run", "run", "--limit", "8", "--rehearsal-latency", "60", "--concurrency", "2")
    with desk.start(*slow) as growing:
        until(growing, lambda: desk.count("calls") > 2)
        with viewing(desk.folder / "run") as viewer:
            page = opened(viewer.url)
            listing = opened(f"{viewer.url}/dialogues")
            for one in (page, listing):
                one.evaluate("window.sameDocument = true")
            expect(page.get_by_text("growing")).to_be_visible()
            funnel = page.get_by_role("region", name="What became of the posts")
            expect(funnel.get_by_role("listitem").filter(has_text="not done")).to_be_visible()
            assert growing.wait(timeout=60) == 0
            expect(funnel.get_by_role("listitem").filter(has_text="not done")).to_have_count(0)
            expect(funnel.get_by_role("listitem").filter(has_text="accepted")).to_contain_text(
                str(desk.count("dialogues WHERE status = 'accepted'"))
            )
            expect(listing.locator("tbody tr")).to_have_count(8)
            expect(page.get_by_text("growing")).to_be_hidden()
            assert page.evaluate("window.sameDocument") is True
            assert listing.evaluate("window.sameDocument") is True
        expect(page.get_by_text("has stopped answering")).to_be_visible()
