import json
from pathlib import Path

import pytest

from corpus.posts import read_posts
from psyllm.errors import UsageError

GOOD = '{"id": "a", "text": "I cannot sleep."}'


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


def test_jsonl_fields_reach_the_post(tmp_path: Path) -> None:
    row = {"id": 7, "title": "T", "text": "Body.", "source": "forum", "licence": "CC0-1.0", "age": 31, "tags": ["x"]}
    found = read_posts([write(tmp_path, "p.jsonl", json.dumps(row) + "\r\n\n")])
    (post,) = found.posts
    assert (post.id, post.title, post.text, post.source, post.license) == ("7", "T", "Body.", "forum", "CC0-1.0")
    assert post.metadata == {"age": 31, "tags": ["x"]}
    assert found.extra_fields == ("age", "tags")
    assert found.skipped == ()


def test_csv_as_a_spreadsheet_writes_it(tmp_path: Path) -> None:
    table = '\ufeffid,text,license,mood\r\n1,"Two lines,\r\nand a ""quote"".",,low\r\n2,Next.,MIT,\r\n'
    first, second = read_posts([write(tmp_path, "p.csv", table)]).posts
    assert first.text == 'Two lines,\r\nand a "quote".'
    assert (first.license, first.source, first.metadata) == ("unknown", "unknown", {"mood": "low"})
    assert (second.id, second.license) == ("2", "MIT")


def test_several_files_keep_their_order(tmp_path: Path) -> None:
    one = write(tmp_path, "z.jsonl", '{"id": "z", "text": "First."}')
    two = write(tmp_path, "a.csv", "id,text\na,Second.\n")
    assert [post.id for post in read_posts([one, two]).posts] == ["z", "a"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.jsonl", f'{GOOD}\n{{"id": "b", "text": }}', ["p.jsonl:2", "not valid JSON", "column 21"]),
        ("p.jsonl", f"{GOOD}\n[1, 2]", ["p.jsonl:2", "not an object", "[1, 2]"]),
        ("p.jsonl", '{"title": "x", "body": "y"}', ["p.jsonl:1", "field id and field text is missing", "title, body"]),
        ("p.jsonl", '{"id": "a"}', ["p.jsonl:1", "field text is missing"]),
        ("p.jsonl", '{"id": "a", "text": "  "}', ["p.jsonl:1", "text is empty"]),
        ("p.jsonl", '{"id": "", "text": "Hi."}', ["p.jsonl:1", "id is empty"]),
        ("p.jsonl", '{"id": "a", "text": ["Hi."]}', ["p.jsonl:1", "text is", '["Hi."]']),
        ("p.jsonl", '{"id": true, "text": "Hi."}', ["p.jsonl:1", "id is true"]),
        ("p.jsonl", '{"id": "a", "text": "\\ud800"}', ["p.jsonl:1", "text"]),
        ("p.jsonl", f"{GOOD}\n\n{GOOD}", ["p.jsonl:3", "'a'", "p.jsonl:1"]),
        ("p.jsonl", " \n", ["p.jsonl", "empty"]),
        ("p.txt", GOOD, ["p.txt", "'.txt'"]),
        ("p.csv", "id,body\na,Hi.\n", ["p.csv:1", "no column text", "id, body"]),
        ("p.csv", 'id,text\na,"one\ntwo"\n\nb,Hi., there\n', ["p.csv:5", "3 cells", "2 columns"]),
        ("p.csv", 'id,text\n,"one\ntwo"\n', ["p.csv:2", "id is empty"]),
        ("p.csv", 'id,text\na,"one" two\n', ["p.csv:2", "not valid CSV"]),
    ],
)
def test_a_mistake_names_file_line_and_value(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read_posts([write(tmp_path, name, text)])
    for word in words:
        assert word in str(caught.value)


def test_every_mistake_a_user_can_mend_has_a_next_step(tmp_path: Path) -> None:
    wrong = [tmp_path / "none.jsonl", tmp_path, write(tmp_path, "e.csv", ""), write(tmp_path, "x.jsonl", "{")]
    for path in wrong:
        with pytest.raises(UsageError) as caught:
            read_posts([path])
        assert str(path) in str(caught.value)
        assert caught.value.hint


def test_bytes_that_are_not_utf8_are_placed(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(GOOD.encode() + b'\n{"id": "b", "text": "caf\xe9"}\n')
    with pytest.raises(UsageError, match=r"latin\.jsonl:2: not UTF-8"):
        read_posts([path])


def test_skipping_keeps_the_rest_and_says_what_was_left_out(tmp_path: Path) -> None:
    lines = [GOOD, "{oops", '{"id": "b", "text": ""}', GOOD, '{"id": "c", "text": "Fine."}']
    found = read_posts([write(tmp_path, "p.jsonl", "\n".join(lines))], skip_invalid=True)
    assert [post.id for post in found.posts] == ["a", "c"]
    assert [message.split(": ")[0].rpartition(":")[2] for message in found.skipped] == ["2", "3", "4"]
