"""The desk as its users meet it: grow in one terminal, a person and `psyllm desk` in another, days between them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents import critic, diagnostician, patient, planner, therapist
from app.answer_form import blank_form, filled
from psyllm.desk import DeskCall, read_call, waiting_calls
from psyllm.errors import UsageError
from psyllm.forms import form_of
from psyllm.runs import Run
from tests.app.conftest import Desk, desk_in, until
from tests.app.test_bad_input import refused

GROW = ("grow", "posts.jsonl", "--run", "run", "--limit", "3", "--rounds", "2")
WIZARD = """
profile = "wizard"
[models.wizard]
kind = "desk"
model = "wizard-of-oz"
[profiles.wizard]
default = "rehearsal"
therapist = "wizard"
"""
SCRIPTED_EDITOR = """
import sys
from pathlib import Path
drafts = Path(__file__).with_name("drafts")
texts = sorted(drafts.glob("*"))
file = Path(sys.argv[-1])
(Path(__file__).with_name("opened")).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
if texts:
    file.write_text(texts[0].read_text(encoding="utf-8"), encoding="utf-8")
    texts[0].unlink()
if "rival" in sys.argv:
    file.with_name(file.name.replace(".draft.yaml", ".answer.json")).write_text("{}", encoding="utf-8")
"""
FORM = """
reasoning: |-
  Nothing is supported in either system so far; it could be a bad month. I stay with their own words.
technique: {technique}
text: |-
  You put it plainly: no more than that. Where were you when it began?
"""


def wizard(desk: Desk) -> Path:
    desk.write("psyllm.toml", WIZARD)
    return desk.folder / "run"


def reply_to(call: DeskCall) -> dict[str, Any]:
    technique = call.schema["properties"]["technique"]
    return yaml.safe_load(FORM.format(technique=technique.get("const") or technique["enum"][0]))  # type: ignore[no-any-return]


def answer(file: Path) -> None:
    """As a program would: straight into the file."""
    text = json.dumps(reply_to(read_call(file)))
    file.with_name(file.name.removesuffix(".md") + ".answer.json").write_text(text, encoding="utf-8")


def ended(process: subprocess.Popen[str]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.05)
    return process.returncode is not None


def editor(desk: Desk, *drafts: str, option: str = "") -> dict[str, str]:
    """An $EDITOR that saves these texts in turn, then none; with "rival", while somebody else answers too."""
    script = desk.folder / desk.write("editor.py", SCRIPTED_EDITOR)
    for n, draft in enumerate(drafts):
        desk.write(f"drafts/{n}", draft)
    return {"EDITOR": f"{sys.executable} {script} {option}"}


@pytest.fixture(scope="module")
def three_wait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was stopped while three calls waited at the desk."""
    desk = desk_in(tmp_path_factory.mktemp("stopped"))
    run = wizard(desk)
    process = desk.start(*GROW, "--concurrency", "1")
    until(process, lambda: len(waiting_calls(run)) == 3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "3 calls wait at the desk; answer with `psyllm desk run`" in said
    return desk.folder


@pytest.fixture
def stopped(three_wait: Path, tmp_path: Path) -> Desk:
    shutil.copytree(three_wait, tmp_path, dirs_exist_ok=True)
    return Desk(tmp_path)


def test_a_person_plays_one_role_while_the_run_grows(desk: Desk) -> None:
    run = wizard(desk)
    process = desk.start(*GROW)
    until(process, lambda: len(waiting_calls(run)) == 3)
    listed = desk.psyllm("desk", "run", "--list")
    assert listed.returncode == 0
    assert listed.stdout.count("1/respond/0") == 3
    rounds = set()
    while not ended(process):
        for file in waiting_calls(run):
            rounds.add(read_call(file).step[0])
            answer(file)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert "answer them with `psyllm desk run`" in said
    assert "3 of 3 posts done" in said
    assert rounds == {"1", "2"}
    with Run(run) as grown:
        dialogues = list(grown.dialogues())
        calls = [call for dialogue in dialogues for call in grown.calls(dialogue.id) if call.role == "therapist"]
    assert {dialogue.provenance.models["therapist"] for dialogue in dialogues} == {"wizard-of-oz"}
    assert any("Where were you when it began?" in turn.reply.text for d in dialogues for turn in d.turns if turn.reply)
    assert len(calls) == len(list((run / "desk" / "done").glob("*.md")))
    for call in calls:
        assert (call.model, call.prompt_tokens, call.cost_usd) == ("wizard-of-oz", 0, None)
    assert waiting_calls(run) == []


def test_answers_that_come_while_nothing_runs_are_found_by_the_same_command(stopped: Desk) -> None:
    desk, run = stopped, stopped.folder / "run"
    paid = desk.count("calls")
    first, *others = waiting_calls(run)
    for file in others:
        answer(file)
    form = FORM.format(technique=reply_to(read_call(first))["technique"])
    done = desk.psyllm("desk", "run", "--role", "therapist", env=editor(desk, form))
    assert (done.returncode, "answered" in done.stderr) == (0, True), done.stderr
    assert "nothing waits at the desk of run for the therapist" in done.stderr
    assert "You are a simulated counsellor" in done.stdout
    opened = (desk.folder / "opened").read_text(encoding="utf-8")
    assert "# technique: one of: " in opened or "technique:  # one of: " in opened
    assert "# <transcript>" in opened
    process = desk.start(*GROW)
    answered = {file.name for file in (first, *others)}
    until(process, lambda: len(waiting_calls(run)) == 3 and not answered & {f.name for f in waiting_calls(run)})
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert {file.name for file in (run / "desk" / "done").glob("*-????????????.md")} == answered
    assert desk.count("calls") > paid


def test_a_person_mends_what_does_not_fit_and_leaves_the_rest_for_later(stopped: Desk) -> None:
    desk, run = stopped, stopped.folder / "run"
    first = waiting_calls(run)[0]
    good = FORM.format(technique=reply_to(read_call(first))["technique"])
    wrong = "technique: [humming\n", "technique: humming\ntext: Hm.\n", good
    done = desk.psyllm("desk", "run", stdin="y\ny\n", env=editor(desk, *wrong))
    assert done.returncode == 0, done.stderr
    assert "line 2: expected ',' or ']'" in done.stderr
    assert "technique: 'humming' is not one of" in done.stderr
    assert "'reasoning' is a required property" in done.stderr
    assert done.stderr.count("left for later\n") == 3, "two calls, and their sum"
    assert "2 calls wait at the desk of run" in done.stderr
    assert first not in waiting_calls(run)
    kept = json.loads(first.with_name(first.name.removesuffix(".md") + ".answer.json").read_text(encoding="utf-8"))
    assert kept == reply_to(read_call(first))
    assert not list(run.rglob("*.draft.yaml")), "an untouched form is no draft"
    done = desk.psyllm("desk", "run", stdin="n\n", env=editor(desk, "technique: humming\n"))
    assert done.returncode == 0
    assert "begun" in desk.psyllm("desk", "run", "--list").stdout


def test_an_answer_that_somebody_else_gave_meanwhile_is_not_written_over(stopped: Desk) -> None:
    run = stopped.folder / "run"
    first = waiting_calls(run)[0]
    form = FORM.format(technique=reply_to(read_call(first))["technique"])
    done = stopped.psyllm("desk", "run", env=editor(stopped, form, option="rival"))
    assert done.returncode == 2
    assert "answered by somebody else meanwhile" in done.stderr
    assert "yours is kept in" in done.stderr
    assert first.with_name(first.name.removesuffix(".md") + ".answer.json").read_text(encoding="utf-8") == "{}"
    assert first.with_name(first.name.removesuffix(".md") + ".draft.yaml").read_text(encoding="utf-8") == form


def test_every_role_can_sit_at_the_desk_without_settings(desk: Desk) -> None:
    process = desk.start(*GROW, "--models", "desk")
    until(process, lambda: len(waiting_calls(desk.folder / "run", "planner")) == 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    done = desk.psyllm("doctor", "--models", "desk")
    assert done.returncode == 0
    assert "answers come from people" in " ".join(done.stdout.split())


def test_wrong_use_of_the_desk_is_told(stopped: Desk) -> None:
    desk, run = stopped, stopped.folder / "run"
    refused(desk.psyllm("desk", "nowhere"), "nowhere holds no run")
    refused(desk.psyllm("desk", "run", "--role", "therapst"), "'therapst'", "planner, patient")
    for command, words in (("no-such-editor", "cannot start the editor"), ("false", "nothing was taken")):
        done = desk.psyllm("desk", "run", env={"EDITOR": command})
        assert done.returncode == 2
        assert words in done.stderr
    assert len(waiting_calls(run)) == 3
    desk.write(
        "psyllm.toml",
        WIZARD + 'critic = "wizard"\n[models.other]\nkind = "desk"\nmodel = "x"\nbase_url = "http://h/v1"',
    )
    refused(desk.psyllm(*GROW), "psyllm.toml: models.other: a desk has no base_url")


SCHEMAS = [
    planner.PlanReply,
    patient.PatientReply,
    diagnostician.DiagnosisReply,
    therapist.reply_schema(("reflection", "summary"), native=False),
    critic.CritiqueReply,
    critic.ReplyCritiqueReply,
    critic.StillAnswersReply,
    critic.EvidenceCheckReply,
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_a_blank_form_offers_every_field_and_names_what_is_missing(schema: Any) -> None:
    shape = form_of(schema, "json_schema").json_schema
    blank = blank_form(shape)
    assert yaml.safe_load(blank).keys() == shape["properties"].keys()
    answer, mistakes = filled(blank, shape)
    assert all("is empty" in mistake or "is too short" in mistake for mistake in mistakes)
    assert answer.keys() == shape["properties"].keys()
    assert bool(mistakes) == (schema not in (diagnostician.DiagnosisReply, critic.EvidenceCheckReply))


def test_a_filled_form_keeps_long_words_and_drops_items_nobody_filled_in() -> None:
    shape = form_of(diagnostician.DiagnosisReply, "json_schema").json_schema
    blank = blank_form(shape)
    words = 'Since when: "June", or # earlier?\n    And who knows?'
    answer, mistakes = filled(
        blank.replace(
            "questions:  # 0 to 4 of these; leave empty for none\n  - |-", f"questions:\n  - |-\n    {words}\n  - |-"
        ),
        shape,
    )
    assert mistakes == []
    assert answer == {
        "evidence": [],
        "facts": [],
        "risks": [],
        "questions": ['Since when: "June", or # earlier?\nAnd who knows?'],
    }
    assert filled(json.dumps(answer), shape) == (answer, [])


@pytest.mark.parametrize("text", ["", "[]", "a: b: c", "\ttab: 1", "x: !!python/object:os.system {}", "a: \x07"])
def test_a_form_that_is_no_object_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        filled(text, {"type": "object"})
