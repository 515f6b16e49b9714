"""One rule for what is in a test set, whatever the shape of its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.held_out import held_out
from psyllm.records import Post

SHORT = "My neighbour Aoife moved away and I cannot eat."
LONG = (
    "I have worked at the same bakery for nine years. Since the spring I wake at three and count the loaves that I have"
    " yet to bake, and by noon I could cry. Nobody at home has noticed anything yet."
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.jsonl", json.dumps({"messages": [{"role": "user", "content": f"{LONG} {SHORT}"}]})),
        ("test.json", json.dumps([{"conversation": [{"patient": LONG}]}, {"q": SHORT}])),
        ("test.csv", f'body,x\n"{LONG}",1\n"{SHORT}",2\n'),
        ("test/one.txt", f"{LONG}\n{SHORT}"),
    ],
)  # fmt: skip
def test_passages_are_found_in_any_kind_of_file(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, encoding="utf-8")
    with held_out([file.parent if file.suffix == ".txt" else file]) as tests:
        words = "Since the spring I wake at three and count the loaves that I have left"
        assert (
            tests.finds(Post(id="a", text=f"Hello. {words}")) == words.removesuffix(" left").lower().rsplit(" ", 1)[0]
        )
        assert tests.finds(Post(id="a", text="Nobody knows."), said=[LONG.upper()])
        assert not tests.finds(Post(id="a", text="Since the spring I wake at three and count the days."))


def test_a_short_post_is_found_though_it_was_scrubbed_and_an_id_too(tmp_path: Path) -> None:
    file = tmp_path / "test.jsonl"
    file.write_text(json.dumps({"post_id": "p7", "text": SHORT}) + "\n")
    with held_out([file]) as tests:
        scrubbed = Post(id="a", text="My neighbour [NAME_1] moved away and I cannot eat")
        assert tests.finds(scrubbed) == f"100% like {file}:1"
        assert tests.finds(Post(id="p7", text="Other words.")) == "its post is in the file"
        assert not tests.finds(Post(id="a", text="My cat moved in and I cannot sleep at all now."))
