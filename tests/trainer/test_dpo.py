"""DPO on repaired turns: the margin grows, lengths are reported, and pairs are those of the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from psyllm.errors import UsageError
from psyllm.journal import Journal
from psyllm.records import (
    Critique,
    Decision,
    Dialogue,
    Provenance,
    Reply,
    ReplyDraft,
    Sentence,
    Status,
    Turn,
)  # fmt: skip
from tests.conftest import ROOT
from tests.trainer.conftest import RECIPE, Seen, dialogue
from trainer.sources import read_conversations

Corpus = Callable[..., Path]


def preferences(count: int) -> list[dict[str, Any]]:
    """Rows of `psyllm export --format preference`: the kept reply is the shorter one in half of them."""
    rows = []
    for number in range(count):
        row = dialogue(number, 2)
        *prompt, kept = row["messages"][:3]
        other = dialogue(100 + number, 2, length=6 if number % 2 else 18)["messages"][2]
        rows.append(
            {"id": f"d{number}/1/1", "dialogue_id": f"d{number}", "post_id": f"p{number}", "prompt": prompt}
            | {"chosen": [kept], "rejected": [other]}
        )
    return rows


@pytest.mark.train
def test_the_kept_reply_is_preferred_and_the_part_of_length_is_reported(
    tiny: Path, corpus: Corpus, tmp_path: Path
) -> None:
    from trainer.dpo import train
    from trainer.sft import Request

    keys = {key: value for key, value in RECIPE.items() if key not in ("layout", "packing")}
    keys |= {
        "model_name_or_path": str(tiny),
        "output_dir": str(tmp_path / "dpo"),
        "max_steps": 12,
        "beta": 0.2,
        "eval_share": 0,
    }
    data = corpus(preferences(8))
    pairs = read_conversations(data, include_rehearsal=False, pairs=True)
    outcome = train(Request(keys, data, pairs), seen := Seen())
    losses = [entry["loss"] for entry in outcome.log if "loss" in entry]
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)
    assert losses[-1] < 0.5
    report = outcome.report
    assert (report["beta"], report["reference"], report["pairs"]) == (0.2, str(tiny), 8)
    assert report["accuracy"] == 1.0
    assert report["mean_margin"] > 0
    assert -1 <= report["margin_length_correlation"] <= 1
    assert len(seen.plan.train) == 8
    card = (tmp_path / "dpo" / "README.md").read_text(encoding="utf-8")
    assert "| beta | 0.200 |" in card
    assert "| chosen longer |" in card


@pytest.mark.train
def test_a_pair_that_is_too_long_is_left_out_by_name(tiny: Path, corpus: Corpus) -> None:
    from transformers import AutoTokenizer

    from trainer.pairs import encode_pairs

    rows = preferences(3)
    rows[1]["rejected"][0]["reasoning_content"] = "word " * 900
    conversations = read_conversations(corpus(rows), include_rehearsal=False, pairs=True)
    pairs = encode_pairs(conversations, AutoTokenizer.from_pretrained(tiny), 500)
    assert (len(pairs), pairs.dropped.places) == (2, {"longer than max_length": ["d1/1"]})


def test_the_pairs_of_a_run_are_its_repaired_turns_under_the_served_prompt(tmp_path: Path) -> None:
    from prompts.library import Library

    def reply(text: str) -> Reply:
        return Reply(reasoning=f"why {text}", technique="reflection", text=text)

    sent_back = Critique(target="therapist", by="code", decision=Decision.REVISE, guidance="shorter")
    kept = Critique(target="therapist", by="model", decision=Decision.ACCEPT)
    turns = tuple(
        Turn(
            round=n,
            client=(Sentence(n=n, text=f"client {n}"),),
            reply=reply(f"kept {n}"),
            critique=kept,
            drafts=(ReplyDraft(reply=reply("draft"), critique=sent_back),) if n == 2 else (),
        )
        for n in (1, 2)
    )
    provenance = Provenance(models={}, seed=0, software_version="0", source="s", license="l")
    journal = Journal.open(tmp_path / "run", {}, "0")
    journal.finish(Dialogue(id="d", post_id="p", status=Status.ACCEPTED, turns=turns, provenance=provenance))
    counsellor = Library().roles["counsellor"]
    journal.add_prompts([(counsellor.ref, (ROOT / "prompts" / "roles" / "counsellor.md").read_text(encoding="utf-8"))])
    journal.close()
    (one,) = read_conversations(tmp_path / "run", include_rehearsal=False, pairs=True)
    (pair,) = one.pairs
    assert [m["content"] for m in pair.prompt[1:]] == ["client 1", "kept 1", "client 2"]
    assert "simulated counsellor" in pair.prompt[0]["content"]
    assert (pair.chosen["content"], pair.rejected["content"]) == ("kept 2", "draft")
    assert pair.rejected["reasoning_content"] == "why draft"


def test_rows_of_the_wrong_stage_are_refused(corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="`train dpo` cannot use messages rows"):
        read_conversations(corpus(), include_rehearsal=False, pairs=True)
    assert json.loads(corpus(preferences(1)).read_text(encoding="utf-8"))["chosen"]
