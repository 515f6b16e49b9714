"""Posts, ids and model output with markup in them are shown as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app.conftest import Desk
from tests.app.web.conftest import OpenPage, viewing
from tests.conftest import Endpoint
from tests.graphs.conftest import PLAN, SCRIPT, client, reply

pytestmark = pytest.mark.browser

IMAGE = '<img src=x onerror=alert("reply")>'
SCRIPTED = '<script>alert("client")</script>'
POST = {
    "id": "\"><script>alert('id')</script>",
    "title": "<svg onload=alert('title')>",
    "text": "Since the spring I lie awake most nights. <script>alert('post')</script> {{ 7 * 7 }} "
    "<iframe src='https://evil.example'></iframe> By day I am no use to anybody at the bakery.",
}


def test_markup_is_shown_and_never_obeyed(
    tmp_path: Path, opened: OpenPage, scripted: Callable[[dict[str, Any]], Endpoint]
) -> None:
    script = SCRIPT | {
        "plan": PLAN | {"presenting_problem": "Nights <style>*{display:none}</style> without sleep."},
        "patient_turn": [client(f"I stare at the ceiling {SCRIPTED} until four."), client("And then the eggs.")],
        "reply": [
            reply(f"Four o'clock {IMAGE} and the ceiling. What goes through your head up there?"),
            reply("The eggs on the floor. Which part stayed with you on the way home?"),
        ],
    }
    desk = Desk(tmp_path)
    desk.write("posts.jsonl", json.dumps(POST))
    model = f'base_url = "{scripted(script).base_url}"\nmodel = "m-1"\ntries = 1\n'
    desk.write("psyllm.toml", f'profile = "p"\n[models.m]\n{model}[profiles.p]\ndefault = "m"\n')
    done = desk.psyllm(
        "grow", "posts.jsonl", "--run", "run", "--modality", "cbt", "--modality", "act", "--modality", "mi"
    )
    assert done.returncode == 0, done.stderr
    with viewing(tmp_path / "run") as viewer:
        (dialogue,) = viewer.dialogues()
        assert IMAGE in str(dialogue.turns), done.stderr
        page = opened(f"{viewer.url}/d/{dialogue.id}#post")
        expect(page.locator(".counsellor").first).to_contain_text(IMAGE)
        expect(page.locator(".client").first).to_contain_text(SCRIPTED)
        expect(page.locator("#post .as-is")).to_contain_text("{{ 7 * 7 }} <iframe")
        expect(page.get_by_role("heading", level=2).first).to_contain_text("<script>alert('id')</script>")
        for address in ("/", "/dialogues", "/search?q=ceiling", f"/compare?a={dialogue.id}&b={dialogue.id}&only=all"):
            page.goto(viewer.url + address)
            assert page.locator("main script, main img, main iframe, main style, [onload], [onerror]").count() == 0
        page.goto(f"{viewer.url}/search?q=%3Cscript%3Ealert(1)%3C/script%3E%20nothing")
        expect(page.get_by_label("Words")).to_have_value("<script>alert(1)</script> nothing")
