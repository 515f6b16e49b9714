"""What the viewer lets in and gives out, told by plain requests: other hosts' names, others' forms, no token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from psyllm.labels import Labels
from tests.app.conftest import Desk, Done
from tests.app.web.conftest import Viewer, viewing

TOKEN = "a-token-for-this-test"


@pytest.fixture(scope="module")
def plain(grown: tuple[Desk, Done], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    folder = tmp_path_factory.mktemp("plain") / "run"
    folder.symlink_to(grown[0].folder / "run")
    with viewing(folder) as viewer:
        yield viewer


@pytest.fixture
def client(plain: Viewer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=plain.url) as client:
        yield client


def a_form(client: httpx.Client, viewer: Viewer) -> tuple[str, dict[str, str]]:
    """Where a dialogue's review goes, and what its page puts into the form."""
    dialogue = viewer.dialogues()[0]
    found = re.search(r'name="form" value="(\w+)"', client.get(f"/d/{dialogue.id}").text)
    assert found
    return f"/d/{dialogue.id}/label", {"form": found[1], "verdict": "flag"}


@pytest.mark.parametrize("path", ["/", "/dialogues", "/search?q=the", "/d/abc", "/nowhere", "/assets/viewer.js"])
def test_every_answer_forbids_what_the_viewer_does_not_need(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_hosts_name_is_refused(client: httpx.Client, host: str) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert "accepted" not in answer.text


def test_a_form_from_elsewhere_changes_nothing(client: httpx.Client, plain: Viewer) -> None:
    path, form = a_form(client, plain)
    for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert client.post(path, data=form, headers=origin).status_code == 403
    own = {"Origin": plain.url}
    assert client.post(path, data=form | {"form": "0" * 64}, headers=own).status_code == 403
    assert client.post(path, data=form | {"comment": "x" * 70_000}, headers=own).status_code == 413
    assert client.post(path, data=form | {"verdict": "splendid"}, headers=own).status_code == 400
    assert client.post(path, data=form | {"verdict": "revise", "comment": "x"}, headers=own).status_code == 400
    assert client.post(path.replace("/d/", "/d/x"), data=form, headers=own).status_code == 400
    assert client.get(path).status_code == 405
    assert not list(Labels(plain.folder).all())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/d/%3Cscript%3E", 400),
        ("/d/..%2F..%2Fetc%2Fpasswd", 404),
        ("/assets/../templates/run.html", 404),
        ("/assets/..%2f..%2fserver.py", 404),
        ("/compare?a=0&b='", 400),
        ("/dialogues?page=-1", 200),
        ("/dialogues?page=99999999999999999999", 200),
        ("/search?q=*", 400),
        ("/search?q=x&role=nobody", 400),
        ("/dialogues?since=yesterday", 400),
    ],
)
def test_an_odd_address_is_answered_calmly(client: httpx.Client, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert "<script>" not in answer.text


def test_with_a_token_nothing_but_the_door_is_open(grown: tuple[Desk, Done]) -> None:
    with (
        viewing(grown[0].folder / "run", "--host", "0.0.0.0", env={"PSYLLM_VIEW_TOKEN": TOKEN}) as viewer,  # noqa: S104
        httpx.Client(base_url=viewer.url, headers={"Origin": viewer.url}) as client,
    ):
        for path in ("/", "/dialogues", f"/d/{viewer.dialogues()[0].id}", "/search?q=the"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/enter")
        door = client.get("/enter").text
        found = re.search(r'name="form" value="(\w+)"', door)
        assert found
        form = {"form": found[1], "token": "wrong"}
        assert client.post("/enter", data=form).status_code == 403
        assert client.get("/").status_code == 303
        assert client.post("/enter", data=form | {"token": TOKEN}).status_code == 303
        assert "What became of the posts" in client.get("/").text
        assert TOKEN not in str(client.cookies)


def test_other_machines_need_a_token_and_a_taken_port_is_told(grown: tuple[Desk, Done], plain: Viewer) -> None:
    desk = grown[0]
    for options, said in (
        (("--host", "0.0.0.0"), "PSYLLM_VIEW_TOKEN"),  # noqa: S104
        (("--token", "short"), "16 are the least"),
        (("--port", plain.url.rpartition(":")[2]), "--port 0"),
    ):
        done = desk.psyllm("view", "run", *options)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert desk.psyllm("view", str(Path("nowhere"))).returncode == 2
