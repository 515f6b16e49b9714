"""An evaluation is kept like a run: the viewer shows its talks, whether their clients were made from posts or not."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.app.conftest import Desk
from tests.app.web.conftest import viewing
from tests.conftest import ROOT

SAYS = "I lie awake until four, and then the bakery opens."


def test_a_talk_without_a_post_is_shown(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write("turns.jsonl", "".join(json.dumps({"id": name, "text": SAYS}) + "\n" for name in ("a", "b")))
    settings = str(ROOT / "examples" / "eval.toml")
    done = desk.psyllm(
        *("eval", "run", "--settings", settings, "--static", "turns.jsonl", "--out", "e", "--no-safety"),
        *("--counsellor", "rehearsal:plain", "--judges", "judge_a"),
    )
    assert done.returncode == 0, done.stderr
    with viewing(tmp_path / "e") as viewer, httpx.Client(base_url=viewer.url) as client:
        talks = viewer.dialogues()
        assert len(talks) == 2
        run = client.get("/").raise_for_status().text
        assert "2 talks of an evaluation" in run and "rehearsal:plain" in run and "psyllm eval report" in run
        assert "What became of the posts" not in run and "Why not" not in run and "not done" not in run
        listed = client.get("/dialogues?status=evaluated").raise_for_status().text
        assert listed.count("rehearsal:plain") == 2
        for talk in talks:
            assert f"/d/{talk.id}" in listed
            page = client.get(f"/d/{talk.id}").raise_for_status().text
            assert SAYS.split(",")[0] in page
            assert "The post" not in page and "counsellor rehearsal:plain" in page
    said = desk.psyllm("status", "e").stdout
    assert "2 talks of an evaluation" in said and "rejected" not in said and "modality" not in said
