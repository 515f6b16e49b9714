"""Every kind of source becomes the same posts; a mistake names file, line and value."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from datasets import Dataset, DatasetDict
from pyarrow import parquet

from corpus.posts import Reader, Recipe, read_posts
from corpus.sources import Source
from psyllm.errors import UsageError
from psyllm.records import Post

GOOD = '{"id": "a", "text": "I cannot sleep."}'
ROWS = [
    {"id": "a", "title": "T", "text": "First.", "mood": "low"},
    {"id": "b", "title": "", "text": "Second: é", "mood": "x"},
]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


def read(source: Path, recipe: Recipe | None = None, **options: Any) -> list[Post]:
    recipe = recipe or Recipe()
    return [raw.post for raw in Reader(recipe.sources([source]), recipe, **options)]


def as_jsonl(folder: Path) -> Path:
    return write(folder, "p.jsonl", "\n".join(map(json.dumps, ROWS)))


def as_zst(folder: Path) -> Path:
    path = folder / "RS_2023-01.zst"
    frames = [zstandard.compress(f"{json.dumps(row)}\n".encode()) for row in ROWS]
    path.write_bytes(b"".join(frames))
    return path


def as_csv(folder: Path) -> Path:
    return write(folder, "p.csv", "\ufeffid,title,text,mood\r\na,T,First.,low\r\nb,,Second: é,x\r\n")


def as_tsv(folder: Path) -> Path:
    return write(folder, "p.tsv", "id\ttitle\ttext\tmood\na\tT\tFirst.\tlow\nb\t\tSecond: é\tx\n")


def as_parquet(folder: Path) -> Path:
    parquet.write_table(pa.Table.from_pylist(ROWS), folder / "p.parquet")
    return folder / "p.parquet"


def as_hf(folder: Path) -> Path:
    DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(folder / "hf")
    return folder / "hf"


@pytest.mark.parametrize("written", [as_jsonl, as_zst, as_csv, as_tsv, as_parquet, as_hf])
def test_every_kind_of_source_gives_the_same_posts(tmp_path: Path, written: Any) -> None:
    posts = read(written(tmp_path))
    assert [(p.id, p.title, p.text, p.metadata) for p in posts] == [
        ("a", "T", "First.", {"mood": "low"}),
        ("b", "", "Second: é", {"mood": "x"}),
    ]


def test_a_folder_of_text_files(tmp_path: Path) -> None:
    write(tmp_path, "b.txt", "Second post.\n")
    (tmp_path / "more").mkdir()
    write(tmp_path / "more", "c.txt", "Third\r\npost.")
    assert [(p.id, p.text) for p in read(tmp_path)] == [("b", "Second post."), ("more/c", "Third\npost.")]


def test_reddit_keeps_forum_and_year_and_nothing_that_finds_the_writer(tmp_path: Path) -> None:
    row = {"id": "zz1x", "author": "night_owl", "subreddit": "depression", "title": "T", "selftext": "I cannot sleep.",
           "created_utc": 1546300800, "permalink": "/r/depression/zz1x", "ups": 3}  # fmt: skip
    (raw,) = Reader([Source(write(tmp_path, "p.jsonl", json.dumps(row)))])
    assert (raw.post.text, raw.post.source, raw.post.license) == ("I cannot sleep.", "Reddit, r/depression", "unknown")
    assert raw.post.metadata == {"subreddit": "depression", "year": 2019}
    assert (raw.author, raw.named) == ("night_owl", "zz1x")
    assert "zz1x" not in raw.post.model_dump_json() and "night_owl" not in raw.post.model_dump_json()


def test_questions_and_conversations_give_their_client_side(tmp_path: Path) -> None:
    pair = {"question": "Why do I cry?", "answer": "Dr Marsh here: because.", "topic": "sadness"}
    talk = {"id": "t", "conversations": [
        {"from": "system", "value": "Be kind."}, {"from": "human", "value": "I lie awake."},
        {"from": "human", "value": "Still."},
        {"from": "gpt", "value": "Since when?"}, {"from": "human", "value": "June."}]}  # fmt: skip
    question, conversation = read(write(tmp_path, "p.jsonl", f"{json.dumps(pair)}\n{json.dumps(talk)}"))
    assert (question.text, question.utterances, question.metadata) == ("Why do I cry?", (), {"topic": "sadness"})
    assert conversation.utterances == ("I lie awake.\nStill.", "June.")
    assert conversation.text == "I lie awake.\nStill.\n\nJune."


def test_one_row_an_utterance_with_a_recipe(tmp_path: Path) -> None:
    table = "conv,who,said\n1,Seeker,I lie awake.\n1,Helper,Since when?\n1,Seeker,June.\n2,Seeker,Hello there.\n"
    recipe = write(tmp_path, "r.yaml", "columns: {dialogue: conv, role: who, text: said}\nclient_roles: [seeker]\n"
                   "source: A study\nlicense: CC-BY-4.0\nretrieved: 2026-03-01\n")  # fmt: skip
    first, second = read(write(tmp_path, "p.csv", table), Recipe.load(recipe))
    assert (first.id, first.utterances) == ("1", ("I lie awake.", "June."))
    assert (second.source, second.license, second.retrieved) == ("A study", "CC-BY-4.0", "2026-03-01")


def test_what_a_row_says_of_itself_goes_first(tmp_path: Path) -> None:
    row = {
        "id": 7,
        "text": "Body.",
        "source": "forum",
        "licence": "CC0-1.0",
        "age": 31,
        "tags": ["x"],
        "email": "a@b.org",
    }
    (post,) = read(write(tmp_path, "p.jsonl", json.dumps(row)), Recipe(source="other", license="MIT"))
    assert (post.id, post.source, post.license, post.metadata) == ("7", "forum", "CC0-1.0", {"age": 31, "tags": ["x"]})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.jsonl", f'{GOOD}\n{{"id": "b", "text": }}', ["p.jsonl:2", "not valid JSON", "column 21"]),
        ("p.jsonl", f"{GOOD}\n[1, 2]", ["p.jsonl:2", "not an object", "[1, 2]"]),
        ("p.jsonl", '{"title": "x", "body": "y"}', ["p.jsonl:1", "no text", "title, body"]),
        ("p.jsonl", '{"id": "a", "text": "  "}', ["p.jsonl:1", "text is empty"]),
        ("p.jsonl", '{"id": "a", "text": ["Hi."]}', ["p.jsonl:1", "text is", '["Hi."]']),
        ("p.jsonl", '{"id": true, "text": "Hi."}', ["p.jsonl:1", "id is true"]),
        ("p.jsonl", '{"id": "a", "text": "\\ud800"}', ["p.jsonl:1", "text"]),
        ("p.jsonl", f"{GOOD}\n\n{GOOD}", ["p.jsonl:3", "'a'", "p.jsonl:1"]),
        (
            "p.jsonl",
            '{"messages": [{"role": "oracle", "content": "x"}]}',
            ["p.jsonl:1", "no words of a client", "oracle"],
        ),
        ("p.jsonl", " \n", ["p.jsonl", "empty"]),
        ("p.doc", GOOD, ["p.doc", "'.doc'"]),
        ("p.csv", "id,body\na,Hi.\n", ["p.csv:2", "no text", "id, body"]),
        ("p.csv", "id,text,text\na,Hi.,Ho.\n", ["p.csv:1", "'text'"]),
        ("p.csv", 'id,text\na,"one\ntwo"\n\nb,Hi., there\n', ["p.csv:5", "3 cells", "2 columns"]),
        ("p.csv", 'id,text\na,"one" two\n', ["p.csv:2", "not valid CSV"]),
        ("p.parquet", "no parquet", ["p.parquet", "no Parquet file"]),
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


def test_lines_of_another_encoding_are_read_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_bytes('{"id": "a", "text": "café"}\n'.encode() + '{"id": "b", "text": "naïve"}\n'.encode("cp1252"))
    reader = Reader([Source(path)])
    assert [raw.post.text for raw in reader] == ["café", "naïve"]
    assert reader.sources[0].recoded == 1
    with pytest.raises(UsageError, match="UTF-16"):
        path.write_bytes(GOOD.encode("utf-16"))
        read(path)


def test_a_cut_off_zst_is_told_and_its_whole_lines_can_be_had(tmp_path: Path) -> None:
    rows = "".join(f'{{"id": "p{n}", "text": "number {n} {n * 7919} {n * 104729}"}}\n' for n in range(20_000))
    path = tmp_path / "p.jsonl.zst"
    path.write_bytes(zstandard.compress(rows.encode())[:-2000])
    with pytest.raises(UsageError, match="cut off"):
        read(path)
    posts = read(path, skip_invalid=True)
    assert 0 < len(posts) < 20_000
    assert posts[5].text == "number 5 39595 523645"


def test_skipping_keeps_the_rest_and_says_what_was_left_out(tmp_path: Path) -> None:
    lines = [GOOD, "{oops", '{"id": "b", "text": ""}', GOOD, '{"id": "c", "text": "Fine."}']
    found = read_posts([write(tmp_path, "p.jsonl", "\n".join(lines))], skip_invalid=True)
    assert [post.id for post in found.posts] == ["a", "c"]
    assert [message.split(": ")[0].rpartition(":")[2] for message in found.skipped] == ["2", "3", "4"]
