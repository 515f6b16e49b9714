"""What is logged: a line for every call and dialogue with their ids, and neither a whole post nor a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from psyllm.runs import Run
from tests.app.conftest import Desk
from tests.conftest import Endpoint

KEY = "sk-very-secret-1234567890"
LIFE = "I lie awake since the spring, and by day I am no use to anybody at the bakery where I work. " * 4


def logged(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


def test_a_run_is_logged_as_json_with_dialogue_and_call(desk: Desk) -> None:
    done = desk.psyllm("grow", "posts.jsonl", "--run", "run", "--limit", "2", "--log-json")
    assert (done.returncode, done.stdout) == (0, "")
    lines = logged(done.stderr)
    with Run(desk.folder / "run") as run:
        dialogues = list(run.dialogues())
        paths = {(d.id, call.path, call.role) for d in dialogues for call in run.calls(d.id)}
    assert {(x["dialogue"], x["call"], x["role"]) for x in lines if x["event"] == "call"} == paths
    ended = {x["dialogue"]: x["status"] for x in lines if x["event"] == "dialogue ended"}
    assert ended == {d.id: d.status for d in dialogues}
    for dialogue in dialogues:
        for turn in dialogue.turns:
            assert turn.client_text not in done.stderr


def test_an_endpoint_that_repeats_what_it_was_sent_puts_neither_key_nor_post_into_the_log(
    desk: Desk, scripted: Callable[[dict[str, Any]], Endpoint]
) -> None:
    endpoint = scripted({"plan": {"$status": 400, "$echo": True}})
    model = f'base_url = "{endpoint.base_url}"\nmodel = "m"\napi_key_env = "MY_SECRET"\ntries = 1\n'
    desk.write("psyllm.toml", f'profile = "p"\n[models.m]\n{model}[profiles.p]\ndefault = "m"\n')
    desk.write("life.jsonl", json.dumps({"id": "p1", "text": LIFE}))
    for flags in ((), ("--log-json", "--retry-failed")):
        done = desk.psyllm("grow", "life.jsonl", "--run", "run", *flags, env={"MY_SECRET": KEY})
        assert done.returncode == 1
        assert "dialogue failed" in done.stderr and "HTTP 400" in done.stderr
        assert KEY not in done.stderr
        assert LIFE not in done.stderr
    assert KEY not in desk.dump()
    assert endpoint.authorizations()[0] == f"Bearer {KEY}"
    (failed,) = [line for line in logged(done.stderr) if line["event"] == "dialogue failed"]
    assert "***" in failed["error"] and len(failed["error"]) <= 161
    assert failed["dialogue"] and failed["level"] == "warning"
