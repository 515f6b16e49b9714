"""The journal: what is written can be read, only the same settings go on, one process at a time."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from psyllm.errors import Failure, UsageError
from psyllm.journal import DATABASE, MOST_BEHIND, Journal, connect
from psyllm.messages import Message, Step
from psyllm.records import Dialogue, PromptRef, Provenance, Status
from psyllm.rows import Call, Usage, inflate
from psyllm.runs import Run

FACTS = {"grow.seed": 1, "models.critic": "m"}


def make_call(
    key: bytes, *, dialogue: str = "d1", parts: tuple[str, ...] = ("stable", "task"), reply: str = "{}"
) -> Call:
    return Call(
        key=key,
        step=Step(dialogue_id=dialogue, post_id="p1", repeat=0, round=1, node="patient", attempt=0),
        correction=0,
        sample=0,
        role="patient",
        model_name="m",
        model="m-1",
        endpoint="http://127.0.0.1:1/v1",
        prompts=(PromptRef(id="patient", version="1.0", sha256="0" * 12),),
        schema_name="patient_turn",
        schema_sha256="0" * 64,
        sampling={"temperature": 0.5},
        messages=(Message("system", ("You are the client.",)), Message("user", parts)),
        reply=reply,
        reasoning="why",
        parsed=None,
        finish_reason="stop",
        usage=Usage(prompt=10, cached=4, completion=2),
        cost_usd=0.25,
        started=1.0,
        seconds=0.5,
        retries=("HTTP 429",),
        error="",
    )


def make_dialogue(status: Status, dialogue_id: str = "d1") -> Dialogue:
    provenance = Provenance(models={}, seed=1, software_version="0", source="s", license="l")
    return Dialogue(id=dialogue_id, post_id="p1", status=status, provenance=provenance)


def test_a_call_is_found_again_byte_for_byte_after_reopening(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run", FACTS, "0")
    journal.record(make_call(b"k" * 32, reply='{"text": "naïve – “quoted”"}'), 0)
    journal.close()
    journal = Journal.open(tmp_path / "run", FACTS, "0")
    found = journal.find(b"k" * 32)
    assert found is not None
    assert (found.reply, found.reasoning) == ('{"text": "naïve – “quoted”"}', "why")
    assert journal.find(b"x" * 32) is None
    journal.close()
    with Run(tmp_path / "run") as run:
        (call,) = run.calls("d1")
    assert call.messages == (("system", "You are the client."), ("user", "stable\n\ntask"))
    assert (call.retries, call.cost_usd, call.cached_tokens) == (("HTTP 429",), 0.25, 4)


async def test_who_is_far_ahead_of_the_disk_waits_for_it(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run", FACTS, "0")
    with closing(connect(tmp_path / "run" / DATABASE)) as other:
        other.execute("BEGIN IMMEDIATE")
        for n in range(MOST_BEHIND):
            journal.record(make_call(n.to_bytes(32, "big")), n)
        await asyncio.wait_for(journal.room(), 10)
        journal.record(make_call(b"x" * 32), MOST_BEHIND)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(journal.room(), 0.3)
        other.execute("ROLLBACK")
    await asyncio.wait_for(journal.room(), 30)
    journal.close()
    with Run(tmp_path / "run") as run:
        assert len(list(run.calls("d1"))) == MOST_BEHIND + 1


def test_a_long_dialogue_does_not_cost_its_square(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run", FACTS, "0")
    turns: list[str] = []
    for n in range(100):
        turns.append(f"turn {n} " + "word " * 40)
        journal.record(make_call(n.to_bytes(32, "big"), parts=tuple(turns)), n)
    journal.close()
    with closing(sqlite3.connect(tmp_path / "run" / DATABASE)) as db:
        stored = [inflate(body) for (body,) in db.execute("SELECT body FROM texts")]
    assert len([text for text in stored if text.startswith("turn")]) == 100


def test_a_fork_shares_its_parents_calls(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run", FACTS, "0")
    journal.record(make_call(b"k" * 32), 0)
    journal.link("d2", 0, b"k" * 32)
    journal.close()
    with Run(tmp_path / "run") as run:
        assert list(run.calls("d1")) == list(run.calls("d2"))
        assert sum(spend.calls for spend in run.spend()) == 1


def test_other_settings_are_refused_and_the_differences_are_listed(tmp_path: Path) -> None:
    Journal.open(tmp_path / "run", FACTS, "0").close()
    with pytest.raises(UsageError) as refusal:
        Journal.open(tmp_path / "run", {"grow.seed": 2, "models.critic": "m", "prompts.act": "1.0"}, "0")
    assert "grow.seed: run has 1, now 2" in str(refusal.value)
    assert "prompts.act" in str(refusal.value)
    assert "models.critic" not in str(refusal.value)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    Journal.open(tmp_path / "run", FACTS, "0.0.9").close()
    with closing(sqlite3.connect(tmp_path / "run" / DATABASE)) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
        db.commit()
    with pytest.raises(UsageError, match="schema version 99"):
        Journal.open(tmp_path / "run", FACTS, "0")
    with pytest.raises(UsageError, match="schema version 99"):
        Run(tmp_path / "run")


def test_one_process_at_a_time_and_a_killed_one_blocks_nobody(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from psyllm.journal import Journal\n"
        f"Journal.open(Path({str(tmp_path / 'run')!r}), {FACTS!r}, '0')\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(Failure, match="another process"):
            Journal.open(tmp_path / "run", FACTS, "0")
        holder.send_signal(signal.SIGKILL)
    Journal.open(tmp_path / "run", FACTS, "0").close()


def test_a_failed_dialogue_is_over_until_another_try_goes_well(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run", FACTS, "0")
    journal.finish(make_dialogue(Status.FAILED, "d1"))
    journal.finish(make_dialogue(Status.ACCEPTED, "d2"))
    journal.flush()
    assert (journal.finished(), journal.failed()) == (frozenset(("d1", "d2")), frozenset(("d1",)))
    journal.finish(make_dialogue(Status.ACCEPTED, "d1"))
    journal.flush()
    assert (journal.finished(), journal.failed()) == (frozenset(("d1", "d2")), frozenset())
    journal.close()


def test_a_write_that_fails_is_reported_once_and_what_was_committed_stays(tmp_path: Path) -> None:
    failures: list[Failure] = []
    journal = Journal.open(tmp_path / "run", FACTS, "0", failures.append)
    journal.record(make_call(b"a" * 32), 0)
    journal.flush()
    with closing(sqlite3.connect(tmp_path / "run" / DATABASE)) as db:
        db.execute("ALTER TABLE calls RENAME TO gone")
    journal.record(make_call(b"b" * 32), 1)
    with pytest.raises(Failure, match="no such table"):
        journal.flush()
    journal.record(make_call(b"c" * 32), 2)
    journal.close()
    assert [failure.boundary for failure in failures] == ["store"]
    with closing(sqlite3.connect(tmp_path / "run" / DATABASE)) as db:
        assert db.execute("SELECT key FROM gone").fetchall() == [(b"a" * 32,)]


def test_whatever_breaks_the_writer_is_reported(tmp_path: Path) -> None:
    failures: list[Failure] = []
    journal = Journal.open(tmp_path / "run", FACTS, "0", failures.append)
    journal.record(make_call(b"a" * 32, reply="half a character \ud83d"), 0)
    with pytest.raises(Failure):
        journal.flush()
    journal.close()
    assert len(failures) == 1
