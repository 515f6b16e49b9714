"""Fine-tuning on a tiny model: what is learned, the layouts against each other, resuming, and what is refused."""

from __future__ import annotations

import json
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from psyllm.errors import Failure, UsageError
from tests.trainer.conftest import Seen, Train, dialogue, weights

pytestmark = pytest.mark.train
Corpus = Callable[..., Path]

ONE_STEP = {
    "max_steps": 1,
    "optim": "sgd",
    "learning_rate": 0.5,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0,
    "max_length": 4096,
    "eval_share": 0,
}


def test_loss_falls_and_the_folder_says_what_it_is(sft: Train, corpus: Corpus, tmp_path: Path) -> None:
    outcome, seen = sft(corpus(), max_steps=12, eval_strategy="steps", eval_steps=6, report_to="tensorboard")
    losses = [entry["loss"] for entry in outcome.log if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]
    assert outcome.eval_loss is not None and outcome.eval_loss < losses[0]
    assert seen.steps[-1].step == 12
    assert seen.steps[-1].tokens_per_second > seen.steps[-1].labels_per_second > 0
    out = tmp_path / "out"
    card = (out / "README.md").read_text(encoding="utf-8")
    for words in (
        "diagnoses nobody",
        "no crisis service",
        "| `CC0-1.0` | 6 |",
        "layout: tree",
        f"{outcome.eval_loss:.4f}",
    ):
        assert words in card
    assert (
        "held-out dialogues" in (out / "loss.svg").read_text(encoding="utf-8")
        or (out / "loss.svg").stat().st_size > 5000
    )
    record = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert record["finished"] is True
    assert (record["data"]["dialogues"], record["data"]["held_out_dialogues"]) == (6, 2)
    assert list(out.rglob("events.out.tfevents*"))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("tree", {}),
        ("tree, checkpointed", {"gradient_checkpointing": True}),
        ("tree, split into small ones", {"max_length": 260, "packing": False, "per_device_train_batch_size": 64}),
        ("a tree a step, accumulated", {"packing": False, "gradient_accumulation_steps": 8}),
    ],
)
def test_a_step_on_trees_is_the_step_on_rows(
    sft: Train, corpus: Corpus, tmp_path: Path, tiny: Path, name: str, keys: dict[str, Any]
) -> None:
    data = corpus()
    _, rows = sft(data, out="rows", **ONE_STEP | {"layout": "rows"})
    _, tree = sft(data, out="tree", **ONE_STEP | keys)
    before, by_rows, by_tree = (weights(folder) for folder in (tiny, tmp_path / "rows", tmp_path / "tree"))
    moved = (by_rows - before).norm()
    assert moved > 0
    assert (by_tree - by_rows).norm() / moved < 1e-4
    assert tree.plan.train.labels == rows.plan.train.labels
    assert tree.plan.train.tokens < rows.plan.train.tokens == tree.plan.train.row_tokens


def test_a_run_that_is_gone_on_with_ends_bit_for_bit_like_one_that_was_not(
    sft: Train, corpus: Corpus, tmp_path: Path
) -> None:
    data = corpus()
    keys = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, "max_length": 512, "lr_scheduler_type": "cosine"}
    straight, _ = sft(data, out="straight", **keys)
    shutil.copytree(tmp_path / "straight", tmp_path / "cut")
    cut = tmp_path / "cut"
    (cut / "model.safetensors").unlink()
    (cut / "checkpoint-6" / "trainer_state.json").unlink()
    (cut / "checkpoint-4" / "trainer_state.json").write_text("{", encoding="utf-8")
    resumed, seen = sft(data, out="cut", resume=True, **keys)
    assert seen.facts["going on from"].endswith("checkpoint-2")
    assert seen.facts["removed interrupted save"] == "checkpoint-4, checkpoint-6"
    assert (weights(cut) == weights(tmp_path / "straight")).all()
    numbers = [[(e["step"], e["loss"], e["num_tokens"]) for e in o.log if "loss" in e] for o in (straight, resumed)]
    assert numbers[0] == numbers[1]


def test_only_the_same_run_is_gone_on_with(sft: Train, corpus: Corpus) -> None:
    data = corpus()
    with pytest.raises(UsageError, match="no training run to resume"):
        sft(data, resume=True)
    keys = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    sft(data, **keys)
    with pytest.raises(UsageError, match="already holds a training run"):
        sft(data, **keys)
    with pytest.raises(UsageError, match=r"learning_rate was 0.003, is 0.1"):
        sft(data, resume=True, **keys, learning_rate=0.1)
    with pytest.raises(UsageError, match="of another hash"):
        sft(corpus([dialogue(n, 2) for n in range(8)], "other.jsonl"), resume=True, **keys)


def test_prompts_are_those_of_inference_and_every_completion_is_whole(sft: Train, corpus: Corpus, tiny: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = [dialogue(n, 3) for n in range(4)]
    _, seen = sft(corpus(rows), layout="rows", eval_share=0, max_steps=1)
    trained = [tree for trees in seen.plan.train.packs for tree in trees]
    wanted = {}
    for row in rows:
        spoken = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
        for at in range(2, len(spoken), 2):
            asked = tokenizer.apply_chat_template(spoken[:at], add_generation_prompt=True, return_dict=True)[
                "input_ids"
            ]
            said = row["messages"][at]
            wanted[tuple(asked)] = f"<think>\n{said['reasoning_content']}\n</think>\n\n{said['content']}<|im_end|>\n"
    assert len(trained) == 12
    for tree in trained:
        prompt = tuple(i for i, label in zip(tree.ids, tree.labels, strict=True) if label == -100)
        answer = [label for label in tree.labels if label != -100]
        assert tokenizer.decode(answer) == wanted[prompt]


def test_what_is_too_long_or_has_no_reasoning_is_left_out_by_name(sft: Train, corpus: Corpus) -> None:
    rows = [dialogue(n, 2) for n in range(6)]
    rows[1]["messages"][4]["reasoning_content"] = "word " * 600
    rows[2]["messages"][2].pop("reasoning_content")
    _, seen = sft(corpus(rows), eval_share=0, max_steps=1, max_length=400)
    assert seen.plan.train.dropped.places == {"longer than max_length": ["d1/2"], "no reasoning_content": ["d2/1"]}
    assert seen.plan.train.turns == 10


def test_keep_all_wants_a_template_that_keeps(sft: Train, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="drops the reasoning of earlier turns"):
        sft(corpus(), layout="keep-all")
    keeping = tmp_path / "keeping.jinja"
    keeping.write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        encoding="utf-8",
    )
    _, seen = sft(corpus(), layout="keep-all", chat_template_path=str(keeping), eval_share=0, max_steps=2)
    _, rows = sft(corpus(), layout="rows", eval_share=0, max_steps=2, out="rows")
    assert seen.plan.train.labels == rows.plan.train.labels


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"max_lenght": 3}, "unknown key 'max_lenght'"),
        ({"learning_rate": "fast"}, "invalid float value: 'fast'"),
        ({"layout": "bush"}, "layout 'bush': choose tree"),
        ({"use_cpu": False}, "wants a GPU and torch sees none"),
        ({"model_name_or_path": "./nowhere"}, "model ./nowhere does not exist"),
        ({"model_name_or_path": None}, "no model_name_or_path"),
        ({"chat_template_path": "nowhere.jinja"}, "chat template nowhere.jinja does not exist"),
        ({"attn_implementation": "sdpa"}, "does not keep the documents of a tree pack apart"),
        ({"attn_implementation": "sdpa", "layout": "rows"}, "does not keep the documents of a rows pack apart"),
        ({"max_length": 20}, re.escape("no turn is left to train on (")),
        ({"max_length": None}, "max_length None"),
        ({"max_steps": 0}, "max_steps 0"),
        ({"eval_share": 1.5}, "eval_share 1.5"),
        ({"beta": 0.1}, "unknown key 'beta'"),
        ({"eval_share": 1}, "nothing is left to train on"),
        ({"report_to": "wandb"}, "report_to wandb, but it is not installed"),
    ],
)
def test_wrong_recipes_are_refused_with_what_to_do(
    sft: Train, corpus: Corpus, tmp_path: Path, keys: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        sft(corpus(), **keys)
    assert refused.value.hint
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_full_disk_is_said_and_the_last_good_checkpoint_goes_on(sft: Train, corpus: Corpus, tmp_path: Path) -> None:
    keys = {"save_strategy": "steps", "save_steps": 2}
    sft(corpus(), **keys)
    out = tmp_path / "out"
    straight = weights(out)
    shutil.rmtree(out / "checkpoint-4")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with pytest.raises(Failure, match=r"out cannot be written: .*File too large") as failed:
            sft(corpus(), resume=True, **keys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "make room" in failed.value.hint
    _, seen = sft(corpus(), resume=True, **keys)
    assert seen.facts["removed interrupted save"] == "checkpoint-4"
    assert seen.facts["going on from"].endswith("checkpoint-2")
    assert (weights(out) == straight).all()


@pytest.mark.parametrize(
    ("recipe", "first"),
    [
        ({"gradient_checkpointing": False}, "--set gradient_checkpointing=true, a smaller max_length"),
        ({"gradient_checkpointing": True}, "a smaller max_length"),
    ],
)
def test_memory_that_gives_out_names_the_knob_to_turn_first(recipe: dict[str, Any], first: str) -> None:
    import torch

    from trainer.sft import Request, limited

    with pytest.raises(Failure, match="out of memory") as failed:
        limited(lambda *_: torch.empty(1 << 50))(Request(recipe, Path("corpus.jsonl"), []), Seen())
    assert failed.value.hint.startswith(f"in this order: {first}")


def test_a_model_that_was_not_written_whole_is_said(sft: Train, corpus: Corpus, tmp_path: Path) -> None:
    sft(corpus(), max_steps=1)
    model = tmp_path / "out" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:10_000])
    with pytest.raises(UsageError, match="out cannot be loaded") as refused:
        sft(corpus(), model_name_or_path=str(tmp_path / "out"), out="next")
    assert "the folder whole" in refused.value.hint


def test_a_template_that_drops_reasoning_is_refused(sft: Train, corpus: Corpus, tmp_path: Path) -> None:
    dropping = tmp_path / "dropping.jinja"
    dropping.write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match="the chat template leaves out reasoning or reply") as refused:
        sft(corpus(), chat_template_path=str(dropping))
    assert "smollm2.jinja" in refused.value.hint


def test_training_stops_early_when_held_out_loss_rises(sft: Train, corpus: Corpus) -> None:
    keys = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
    outcome, _ = sft(corpus(), max_steps=30, learning_rate=0.5, early_stopping_patience=2, **keys)
    assert outcome.steps < 30


def test_held_out_loss_is_the_mean_over_tokens_however_they_are_packed(sft: Train, corpus: Corpus) -> None:
    data = corpus([dialogue(n, 1 + n % 4, length=4 + 3 * n) for n in range(12)])
    keys: dict[str, Any] = {
        "max_steps": 1,
        "learning_rate": 0.0,
        "eval_share": 0.5,
        "eval_strategy": "steps",
        "eval_steps": 1,
    }
    losses = []
    ways: tuple[dict[str, Any], ...] = ({"max_length": 4096}, {"packing": False}, {"layout": "rows", "packing": False})
    for number, more in enumerate(ways):
        outcome, seen = sft(data, out=str(number), **keys | more)
        losses.append(outcome.eval_loss)
        assert (len(seen.plan.held.packs) > 1) == (number > 0)
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)


def test_an_adapter_is_no_base_for_more_training(sft: Train, corpus: Corpus, tmp_path: Path) -> None:
    lora = {"use_peft": True, "lora_r": 2, "lora_target_modules": ["q_proj"]}
    sft(corpus(), max_steps=1, out="lora", **lora)
    with pytest.raises(UsageError, match="is a LoRA adapter") as refused:
        sft(corpus(), max_steps=1, model_name_or_path=str(tmp_path / "lora"))
    assert "psyllm train merge" in refused.value.hint
