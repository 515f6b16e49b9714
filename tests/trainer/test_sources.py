"""What can be trained on, and how wrong data is refused: by file, line and field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from psyllm.errors import UsageError
from tests.trainer.conftest import dialogue
from trainer.sources import manifest, read_conversations, split_by_post

Corpus = Callable[..., Path]


def read(file: Path, **more: Any) -> Any:
    return read_conversations(file, include_rehearsal=False, **more)


def as_turns(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The same dialogue as `psyllm export --format per-turn` writes it."""
    messages = row["messages"]
    return [
        {
            "id": f"{row['id']}/{n}",
            "dialogue_id": row["id"],
            "post_id": row["post_id"],
            "prompt": [{"role": m["role"], "content": m["content"]} for m in messages[:n]],
            "completion": [messages[n]],
        }
        for n in range(2, len(messages), 2)
    ]


def test_messages_and_per_turn_rows_of_a_dialogue_ask_for_the_same_turns(corpus: Corpus) -> None:
    row = dialogue(3, 4)
    (whole,) = read(corpus([row]))
    (parts,) = read(corpus(as_turns(row), "turns.jsonl"))
    assert whole.turns == parts.turns
    assert len(whole.turns) == 4
    assert all("reasoning_content" not in message for turn in whole.turns for message in turn.prompt)


def test_published_openr1_psy_rows_are_asked_for_with_the_served_prompt(corpus: Corpus) -> None:
    exchanges = [
        {"patient": "I cannot sleep.", "counselor_think": "Sleep first.", "counselor_content": "Since when?"},
        {"patient": "Since May.", "counselor_think": "What happened in May?", "counselor_content": "What was May?"},
    ]
    (one,) = read(corpus([{"post_id": "7", "file": "lrf", "conversation": exchanges}]))
    assert one.post_id == "7"
    assert [turn.reasoning for turn in one.turns] == ["Sleep first.", "What happened in May?"]
    roles = [message["role"] for message in one.turns[1].prompt]
    assert roles == ["system", "user", "assistant", "user"]
    assert "simulated counsellor" in one.turns[0].prompt[0]["content"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["{"], "corpus.jsonl:1: not JSON"),
        (["[]"], "corpus.jsonl:1: not a JSON object"),
        (['{"text": "x"}'], "corpus.jsonl:1 has the fields text"),
        ([json.dumps(dialogue(0, 2)), json.dumps(as_turns(dialogue(1, 2))[0])], "corpus.jsonl:2 is a per-turn row"),
        ([json.dumps(dialogue(0, 2)), json.dumps(dialogue(0, 2))], "corpus.jsonl:2: id 'd0' is there twice"),
        ([json.dumps(dialogue(0, 2) | {"rehearsal": True})], "corpus.jsonl:1 was made by the rehearsal backend"),
        ([json.dumps({"messages": [{"role": "user", "content": "x"}]})], "corpus.jsonl:1: no assistant message"),
        ([json.dumps({"messages": [{"role": "assistant", "content": "x"}]})], "message 1 is by 'assistant'"),
        ([json.dumps({"messages": [{"role": "user", "content": ""}]})], "content is missing or empty"),
        ([json.dumps({"messages": "x"})], "messages is not a list of objects"),
        (
            [json.dumps({"prompt": [], "chosen": [], "rejected": []})],
            "`train sft` cannot use preference rows",
        ),
        ([], "holds no accepted dialogue"),
    ],
)
def test_wrong_data_is_refused_by_line(tmp_path: Path, lines: list[str], says: str) -> None:
    file = tmp_path / "corpus.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        read(file)
    assert says in str(refused.value)
    assert refused.value.hint or "message 1" in says or "no assistant" in says


@pytest.mark.parametrize("name", ["nowhere.jsonl", "notes.txt"])
def test_what_is_no_source_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match=name):
        read(tmp_path / name)


def test_an_export_is_read_whatever_its_file_is_called(corpus: Corpus) -> None:
    assert read(corpus(name="corpus")) == read(corpus())


def test_a_split_keeps_posts_whole_and_is_the_same_each_time(corpus: Corpus) -> None:
    everything = read(corpus([dialogue(n, 2) for n in range(40)]))
    train, held = split_by_post(everything, 0.2, seed=5)
    assert len(held) == 8
    assert not {one.post_id for one in train} & {one.post_id for one in held}
    assert split_by_post(everything, 0.2, seed=5) == (train, held)
    assert split_by_post(everything, 0.2, seed=6) != (train, held)
    assert split_by_post(everything, 0, seed=5) == (everything, [])


def test_the_source_s_own_splits_are_taken_and_must_not_share_posts(corpus: Corpus) -> None:
    rows = [dialogue(n, 2) | {"split": "test" if n in (6, 7) else "train"} for n in range(8)]
    train, held = split_by_post(read(corpus(rows)), 0.5, seed=0)
    assert ([one.id for one in held], len(train)) == (["d6", "d7"], 6)
    rows[1]["split"] = "test"
    with pytest.raises(UsageError, match="post 'p0' is in two splits"):
        split_by_post(read(corpus(rows)), 0.5, seed=0)


def test_the_manifest_counts_and_its_hash_follows_the_words(corpus: Corpus) -> None:
    rows = [dialogue(n, 2) for n in range(4)]
    file = corpus(rows)
    before = manifest(read(file), [], file)
    assert (before["dialogues"], before["turns"], before["modality"]) == (4, 8, {"cbt": 4})
    rows[2]["messages"][2]["reasoning_content"] += "!"
    after = manifest(read(corpus(rows)), [], file)
    assert after["sha256"] != before["sha256"]
    assert after | {"sha256": ""} == before | {"sha256": ""}
