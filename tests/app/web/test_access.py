"""Every page for everybody: no serious fault by axe-core, in both colour schemes; a phone scrolls one way only."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from psyllm.records import Status
from tests.app.web.conftest import PHONE, WIDE, OpenPage, Viewer

pytestmark = pytest.mark.browser


def addresses(viewer: Viewer) -> dict[str, str]:
    dialogues = viewer.dialogues()
    repaired = next(d for d in dialogues if any(turn.drafts and turn.findings for turn in d.turns))
    rejected = next(d for d in dialogues if d.status is Status.REJECTED)
    fork = next(d for d in dialogues if d.forked_from)
    return {
        "run": "/",
        "list": "/dialogues?status=accepted",
        "nothing found": "/dialogues?status=failed",
        "search": "/search?q=night",
        "dialogue": f"/d/{repaired.id}",
        "rejected": f"/d/{rejected.id}",
        "compare": f"/compare?a={fork.forked_from}&b={fork.id}&only=all",
        "error": "/d/abc",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault(shown: Viewer, opened: OpenPage, scheme: str) -> None:
    for name, address in addresses(shown).items():
        page = opened(shown.url + address, scheme=scheme)
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        found = Axe().run(page).response["violations"]
        faults = [
            (name, fault["id"], node["target"], node["failureSummary"])
            for fault in found
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"][:3]
        ]
        assert not faults


@pytest.mark.parametrize("size", [PHONE, WIDE])
def test_no_page_scrolls_sideways(shown: Viewer, opened: OpenPage, size: tuple[int, int]) -> None:
    for name, address in addresses(shown).items():
        page = opened(shown.url + address, size)
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


def test_the_keyboard_alone_reaches_the_page_and_its_focus_is_seen(shown: Viewer, opened: OpenPage) -> None:
    page = opened(f"{shown.url}/dialogues")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the page")
    assert skip.evaluate("link => link === document.activeElement && link.getBoundingClientRect().left >= 0")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline not in ("none", "")
