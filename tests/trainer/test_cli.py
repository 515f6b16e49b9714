"""The commands as a user runs them: train, Ctrl-C, go on, chat, LoRA, merge."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from prompts.library import Library
from tests.conftest import PSYLLM, ROOT, clean_environment
from tests.trainer.conftest import RECIPE, Train, weights

Psyllm = Callable[..., subprocess.CompletedProcess[str]]
Corpus = Callable[..., Path]

REASONING = "Tired since spring; nothing more is known yet."
REPLY = "Since when has it been like this?"


@pytest.fixture
def recipe(tiny: Path, tmp_path: Path) -> Callable[..., Path]:
    def write(**keys: Any) -> Path:
        file = tmp_path / "recipe.yaml"
        given = RECIPE | {"model_name_or_path": str(tiny), "output_dir": str(tmp_path / "out")} | keys
        file.write_text(yaml.safe_dump(given), encoding="utf-8")
        return file

    return write


@pytest.mark.train
def test_ctrl_c_saves_and_resume_ends_like_a_run_that_was_left_alone(
    recipe: Callable[..., Path], corpus: Corpus, sft: Train, tmp_path: Path, psyllm: Psyllm
) -> None:
    keys = {"max_steps": 80, "save_strategy": "steps", "save_steps": 80, "max_length": 512}
    words = ["train", "sft", str(recipe(**keys)), "--data", str(corpus())]
    with subprocess.Popen([PSYLLM, *words], env=clean_environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith("step "):
                process.send_signal(signal.SIGINT)
                break
        said += process.stderr.read()
    assert process.returncode == 130, "as after every Ctrl-C: `train sft ... && train dpo ...` must not go on"
    assert re.search(r"^80 steps, about \d+ (s|min) on this machine; Ctrl-C saves and stops$", said, re.MULTILINE), said
    assert re.search(r"^step 1/80 .* learned   \d+ (s|min) left$", said, re.MULTILINE), said
    assert "stopping after this step" in said
    stopped = re.search(r"stopped at step (\d+); go on with: psyllm train sft .* --resume", said.replace("\n", " "))
    assert stopped and int(stopped[1]) < 80
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert "Unfinished" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    resumed = psyllm(*words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"checkpoint-{stopped[1]}" in resumed.stderr
    again = psyllm(*words, "--resume")
    assert "80 steps, none was left to train" in again.stderr
    assert re.search(
        r"^80 steps, \d+ epochs", (tmp_path / "out" / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    sft(corpus(), out="straight", **keys)
    assert (weights(tmp_path / "out") == weights(tmp_path / "straight")).all()


@pytest.fixture
def learned(sft: Train, corpus: Corpus, tmp_path: Path) -> Path:
    """A model that has learned one exchange by heart."""
    messages = [
        {"role": "system", "content": Library().roles["counsellor"].render("system")},
        {"role": "user", "content": "I am tired."},
        {"role": "assistant", "reasoning_content": REASONING, "content": REPLY + " {crisis_contacts}"},
    ]
    row = {"id": "one", "post_id": "one", "messages": messages, "license": "CC0-1.0"}
    outcome, _ = sft(
        corpus([row]), eval_share=0, max_steps=120, learning_rate=1e-2, lr_scheduler_type="constant", out="learned"
    )
    assert outcome.log[-2]["loss"] < 0.05
    return tmp_path / "learned"


@pytest.mark.train
def test_the_model_answers_in_chat_with_its_reasoning_folded(learned: Path) -> None:
    done = subprocess.run(
        [PSYLLM, "chat", str(learned), "--temperature", "0", "--max-tokens", "200"],
        input="I am tired.\n/think\n/quit\n",
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folded, _, unfolded = done.stdout.partition(REPLY)
    assert f"thought, {len(REASONING.split())} words" in folded
    assert REASONING not in folded
    assert "findahelpline.com" in " ".join(unfolded.split())
    assert REASONING in unfolded
    said = " ".join(done.stderr.split())
    for words in ("not a counsellor", "diagnoses nobody", "no crisis service", "nobody has checked these contacts"):
        assert words in said


@pytest.mark.train
def test_an_adapter_is_trained_on_trees_and_merges_into_the_same_model(
    sft: Train, corpus: Corpus, tmp_path: Path, psyllm: Psyllm, tiny: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lora = {"use_peft": True, "lora_r": 4, "lora_target_modules": ["q_proj", "v_proj", "down_proj"]}
    outcome, _ = sft(corpus(), max_steps=6, learning_rate=1e-2, gradient_checkpointing=True, out="lora", **lora)
    losses = [entry["loss"] for entry in outcome.log if "loss" in entry]
    assert losses[-1] < losses[0]
    adapter, merged = tmp_path / "lora", tmp_path / "merged"
    assert not (adapter / "model.safetensors").exists()
    served = psyllm("serve", adapter).stdout
    assert f"serve {tiny} --enable-lora" in " ".join(served.split())
    done = psyllm("train", "merge", adapter, merged)
    assert done.returncode == 0, done.stderr
    ids = torch.tensor([AutoTokenizer.from_pretrained(merged)("I feel tired lately.")["input_ids"]])
    with torch.no_grad():
        logits = [
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits
            for folder in (tiny, adapter, merged)
        ]
    assert (logits[1] - logits[2]).abs().max() < 1e-4
    assert (logits[0] - logits[2]).abs().max() > 1e-2
    again = psyllm("train", "merge", adapter, merged)
    assert (again.returncode, "merged exists" in again.stderr) == (2, True)
    assert "is no LoRA adapter" in psyllm("train", "merge", tiny, tmp_path / "x").stderr


@pytest.mark.train
@pytest.mark.slow
def test_two_processes_learn_what_one_does(
    recipe: Callable[..., Path], sft: Train, corpus: Corpus, tmp_path: Path
) -> None:
    keys = {"max_steps": 2, "optim": "sgd", "learning_rate": 0.3, "max_grad_norm": 0, "packing": False, "eval_share": 0}
    keys |= {"lr_scheduler_type": "constant", "data_seed": 3}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", PSYLLM]
    launch += ["train", "sft", str(recipe(**keys)), "--data", str(corpus())]
    done = subprocess.run(launch, env=clean_environment(), capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("layout tree") == 1, "one process speaks"
    sft(corpus(), out="one", **keys | {"gradient_accumulation_steps": 2})
    both, one = weights(tmp_path / "out"), weights(tmp_path / "one")
    assert (both - one).norm() / one.norm() < 1e-5


RECIPES = sorted(file for file in (ROOT / "trainer" / "recipes").rglob("*.yaml") if file.parent.name != "accelerate")


@pytest.mark.train
@pytest.mark.parametrize("file", RECIPES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_shipped_recipe_starts_with_its_own_run_line_and_loads(file: Path) -> None:
    from trainer.arguments import DpoArguments, SftArguments, arguments_of
    from trainer.recipe import read_recipe

    line = file.read_text(encoding="utf-8").splitlines()[0]
    stage = file.stem.split("-")[0]
    assert f"psyllm train {stage} {file.relative_to(ROOT)} --data" in line
    recipe = read_recipe(file, ["use_cpu=true", "bf16=false", "tf32=false"])
    arguments, _ = arguments_of({"sft": SftArguments, "dpo": DpoArguments}[stage], recipe)
    assert arguments.learning_rate == recipe["learning_rate"]
    if config := re.search(r"--config_file (\S+)", line):
        assert (ROOT / config[1]).is_file()


@pytest.mark.train
@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero3"])
def test_a_shipped_launch_file_is_one_that_accelerate_reads(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "trainer" / "recipes" / "accelerate" / f"{name}.yaml"))
    assert config.mixed_precision == "bf16"
    assert config.num_processes == 8


@pytest.mark.parametrize("words", [("train",), ("train", "sft"), ("train", "dpo"), ("serve",), ("chat",)])
def test_help_shows_an_example_and_loads_nothing_heavy(psyllm: Psyllm, words: tuple[str, ...]) -> None:
    shown = psyllm(*words, "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert shown.returncode == 0
    assert "Example:" in shown.stdout
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in shown.stderr.splitlines()}
    assert not loaded & {"torch", "transformers", "trl", "datasets", "matplotlib", "langgraph"}


@pytest.mark.train
@pytest.mark.slow
def test_a_real_small_model_trains_on_a_rehearsal_run_goes_on_and_answers(
    psyllm: Psyllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer import smollm2

    monkeypatch.chdir(ROOT)
    (tmp_path / "models").mkdir()
    (tmp_path / smollm2.FOLDER).symlink_to(smollm2.unpacked().resolve())
    posts = ROOT / "examples" / "posts.jsonl"
    assert psyllm("grow", posts, "--run", "run", "--limit", "3", "--rounds", "1-1").returncode == 0
    words = ["train", "sft", ROOT / "trainer" / "recipes" / "smollm2-135m" / "sft-cpu.yaml", "--data", "run"]
    refused = psyllm(*words)
    assert (refused.returncode, "made by the rehearsal backend" in refused.stderr) == (2, True)
    keys = ["learning_rate=3e-4", "warmup_steps=0", "save_steps=3", "eval_strategy=no", "eval_share=0", "max_steps=4"]
    words += ["--include-rehearsal", *(word for key in keys for word in ("--set", key))]
    done = psyllm(*words)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "trained" / "smollm2-135m-sft"
    log = json.loads((out / "training.json").read_text(encoding="utf-8"))["log"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < losses[0] - 0.2
    assert "stand-in words" in (out / "README.md").read_text(encoding="utf-8")
    straight = weights(out)
    for lost in (out / "model.safetensors", out / "checkpoint-4" / "trainer_state.json"):
        lost.unlink()
    resumed = psyllm(*words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "removed interrupted save checkpoint-4" in resumed.stderr
    assert (weights(out) == straight).all()
    answered = subprocess.run(
        [PSYLLM, "chat", str(out), "--max-tokens", "20"],
        input="I cannot sleep.\n",
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert answered.returncode == 0, answered.stderr
    assert answered.stdout.strip()


@pytest.mark.train
@pytest.mark.slow
def test_the_bench_measures_our_trainer_and_trl_s_defaults_in_one_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "train.py"), "--smoke", "--only", "3-6, 8192", "--out", str(tmp_path)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("train-tiny-cpu-*.jsonl")
    results = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(r["case"]["layout"], r["error"]) for r in results] == [("trl", "")] * 2 + [("rows", ""), ("tree", "")]
    assert all(r["loss_tokens_per_s"] > 0 and 0 < r["mfu"] < 1 for r in results)
    assert results[3]["labels"] > 1.5 * results[2]["labels"], "trees hold less that is not learned"


@pytest.mark.train
@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("rehearsal.jsonl:1 was made by the rehearsal backend", ()),
        ("out already holds a training run", ("--include-rehearsal",)),
        ("nothere holds no training run to resume", ("--resume", "--set", "output_dir=nothere")),
        ("--set lora_r=[1: no YAML value", ("--set", "lora_r=[1")),
    ],
)
def test_what_can_be_refused_without_torch_is_refused_before_it_loads(
    tmp_path: Path, psyllm: Psyllm, said: str, words: tuple[str, ...]
) -> None:
    row: dict[str, Any] = {"id": "a", "rehearsal": True, "messages": [{"role": "user", "content": "x"}]}
    row["messages"].append({"role": "assistant", "reasoning_content": "y", "content": "z"})
    (tmp_path / "rehearsal.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    folder = "out" if "already" in said else "new"
    (tmp_path / "recipe.yaml").write_text(f"output_dir: {folder}\n", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "training.json").write_text("{}", encoding="utf-8")
    env = {"PYTHONPROFILEIMPORTTIME": "1"}
    refused = psyllm("train", "sft", "recipe.yaml", "--data", "rehearsal.jsonl", *words, env=env)
    assert (refused.returncode, said in " ".join(refused.stderr.split())) == (2, True), refused.stderr[-500:]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in refused.stderr.splitlines()}
    assert not loaded & {"torch", "transformers", "trl", "datasets"}
