"""Reading a run: its order, its counts, what it spent; several workers' databases as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from psyllm.errors import UsageError
from psyllm.journal import DATABASE, Journal
from psyllm.messages import Message, Step
from psyllm.records import (
    CasePlan,
    ClientProfile,
    Dialogue,
    Emotion,
    ModalityChoice,
    Mode,
    Post,
    Provenance,
    Reason,
    RoundPlan,
    Scene,
    Sentence,
    Status,
    Turn,
)
from psyllm.rows import Call, Usage
from psyllm.runs import Coverage, Run

FACTS = {"grow.seed": 3, "grow.coverage": {"cbt": 3, "act": 1}, "models.critic": "m"}
PROFILE = ClientProfile(
    history="h",
    memories=("m",),
    core_beliefs=("b",),
    automatic_thoughts=("t",),
    coping=("c",),
    disclosure="d",
    resistance="r",
    builds_trust="b",
    safety="s",
)
CALL = Call(
    key=b"",
    step=Step(dialogue_id="d", post_id="p", repeat=0, round=1, node="patient", attempt=0),
    correction=0,
    sample=0,
    role="patient",
    model_name="m",
    model="m-1",
    endpoint="http://127.0.0.1:1/v1",
    prompts=(),
    schema_name="patient_turn",
    schema_sha256="0" * 64,
    sampling={},
    messages=(Message("user", ("Speak.",)),),
    reply="{}",
    reasoning="",
    parsed="{}",
    finish_reason="stop",
    usage=Usage(prompt=10, cached=4, completion=2),
    cost_usd=0.25,
    started=1.0,
    seconds=0.5,
    retries=(),
    error="",
)


def dialogue(
    name: str, post: str, status: Status, *codes: str, modality: str = "", modes: tuple[Mode, ...] = ()
) -> Dialogue:
    plan = CasePlan(
        emotion=Emotion(primary="fear", intensity=4),
        presenting_problem="p",
        scene=Scene(category="work", detail="d"),
        severity="mild",
        rounds=(RoundPlan(focus="f"),),
        modality=ModalityChoice(chosen=modality, drawn=modality, reasons=()),
        profile=PROFILE,
    )
    turns = enumerate(modes, 1)
    return Dialogue(
        id=name,
        post_id=post,
        status=status,
        plan=plan if modality else None,
        turns=tuple(Turn(round=n, client=(Sentence(n=n, text="x"),), mode=mode) for n, mode in turns),
        reasons=tuple(Reason(code=code, role="therapist") for code in codes),
        provenance=Provenance(models={}, seed=3, software_version="0", source="s", license="l"),
    )


def write(folder: Path, fill: Callable[[Journal], None]) -> Path:
    journal = Journal.open(folder, FACTS, "0")
    fill(journal)
    journal.close()
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    def fill(journal: Journal) -> None:
        journal.add_posts((n, Post(id=name, text="x")) for n, name in enumerate(("z", "y", "a", "b", "c")))
        journal.finish(dialogue("d4", "b", Status.SCREENED_OUT, "post_too_short"))
        journal.finish(dialogue("d3", "a", Status.ACCEPTED, modality="act", modes=("ordinary", "explore")))
        journal.finish(
            dialogue(
                "d1", "z", Status.REJECTED, "template_trace", "template_trace", modality="cbt", modes=("ordinary",)
            )
        )
        journal.finish(dialogue("d2", "y", Status.ACCEPTED, modality="cbt", modes=("ordinary",)))

    return write(tmp_path / "run", fill)


def test_dialogues_come_in_the_order_of_their_posts(run: Path) -> None:
    with Run(run) as opened:
        assert [d.id for d in opened.dialogues()] == ["d1", "d2", "d3", "d4"]
        assert [d.id for d in opened.dialogues(Status.ACCEPTED)] == ["d2", "d3"]
        assert opened.fingerprint == FACTS


def test_counts_by_status_modality_mode_and_reason(run: Path) -> None:
    with Run(run) as opened:
        assert opened.status_counts() == {
            Status.ACCEPTED: 2,
            Status.REJECTED: 1,
            Status.SCREENED_OUT: 1,
            Status.FAILED: 0,
            Status.IN_REVIEW: 0,
            Status.EVALUATED: 0,
        }
        assert opened.post_count() == 5
        assert opened.coverage() == [
            Coverage("act", wanted=0.25, drawn=1, chosen=1, accepted=1, rounds=2, safety_rounds=0),
            Coverage("cbt", wanted=0.75, drawn=2, chosen=2, accepted=1, rounds=1, safety_rounds=0),
        ]
        assert opened.accepted_by_mode() == [("ordinary", 2, 1), ("explore", 1, 1)]
        assert opened.reasons() == [
            ("screened_out", "post_too_short", "therapist", 1),
            ("rejected", "template_trace", "therapist", 1),
        ]


def test_a_dialogue_is_found_by_the_start_of_its_id_or_its_post(run: Path) -> None:
    with Run(run) as opened:
        assert opened.dialogue("d3").post_id == "a"
        assert opened.dialogue("y").id == "d2"
        with pytest.raises(UsageError, match=r"4 dialogues of .* begin with 'd': d1 \(.*\), d2 .*, d4 \(") as error:
            opened.dialogue("d")
        assert "more of the dialogue's id" in error.value.hint
        with pytest.raises(UsageError, match=r"no dialogue .* begins with 'd9'"):
            opened.dialogue("d9")


def test_what_each_role_spent(tmp_path: Path) -> None:
    def fill(journal: Journal) -> None:
        journal.record(replace(CALL, key=b"1" * 32), 0)
        journal.record(replace(CALL, key=b"2" * 32, parsed=None, error="no", retries=("HTTP 429", "HTTP 503")), 1)
        journal.record(replace(CALL, key=b"3" * 32, role="critic", cost_usd=None), 2)
        journal.record(replace(CALL, key=b"4" * 32, role="critic"), 3)
        journal.link("fork", 0, b"1" * 32)

    with Run(write(tmp_path / "run", fill)) as opened:
        patient, critic = sorted(opened.spend(), key=lambda s: s.role, reverse=True)
        assert [call.position for call in opened.calls("d")] == [0, 1, 2, 3]
        assert [call.parsed for call in opened.calls("fork")] == ["{}"]
    assert (patient.role, patient.calls, patient.misfits, patient.retried) == ("patient", 2, 1, 1)
    assert (patient.prompt_tokens, patient.cached_tokens, patient.completion_tokens) == (20, 8, 4)
    assert patient.cost_usd == pytest.approx(0.5)
    assert patient.seconds == pytest.approx(1.0)
    assert critic.cost_usd is None, "one of its calls has no price"


def test_the_databases_of_two_workers_read_as_one(run: Path, tmp_path: Path) -> None:
    def fill(journal: Journal) -> None:
        journal.add_posts([(5, Post(id="e", text="x"))])
        journal.finish(dialogue("d5", "e", Status.ACCEPTED, modality="cbt", modes=("ordinary",)))
        journal.record(replace(CALL, key=b"5" * 32, step=replace(CALL.step, dialogue_id="d5")), 0)

    other = write(tmp_path / "other", fill)
    (other / DATABASE).rename(run / "journal-1.db")
    with Run(run) as opened:
        assert opened.post_count() == 6
        assert opened.status_counts()[Status.ACCEPTED] == 3
        assert opened.dialogue("d5").post_id == "e"
        assert [(row.modality, row.chosen, row.accepted) for row in opened.coverage()] == [("act", 1, 1), ("cbt", 3, 2)]
        assert [d.id for d in opened.dialogues()] == ["d1", "d2", "d3", "d4", "d5"]
        assert len(list(opened.calls("d5"))) == 1


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but quite some bytes of it " * 40])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(UsageError, match="holds no run" if content is None else "cannot be read") as error:
        Run(tmp_path)
    assert error.value.hint


def test_reading_changes_nothing(run: Path) -> None:
    before = (run / DATABASE).read_bytes()
    with Run(run) as opened:
        list(opened.dialogues())
        opened.spend()
    assert (run / DATABASE).read_bytes() == before
