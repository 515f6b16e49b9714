"""One run, several processes: the same dialogues as with one, whatever happens on the way; and runs joined into one."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from psyllm.desk import waiting_calls
from psyllm.journal import Journal, connect, shard_file, shard_numbers
from psyllm.labels import Label, Labels
from psyllm.records import Status
from psyllm.runs import Run
from tests.app.conftest import DEADLINE_S, EIGHT, Desk, until
from tests.app.test_cli import of_first_four
from tests.app.test_desk import answer, ended, wizard
from tests.conftest import Endpoint
from tests.graphs.conftest import SCRIPT

TWO = (*EIGHT, "--workers", "2")
FOUR = (*EIGHT[:-1], "4", "--workers", "2")


def calls(desk: Desk, run: str = "run") -> int:
    """Committed calls in all databases."""
    count = 0
    for number in shard_numbers(desk.folder / run):
        with closing(connect(desk.folder / run / shard_file(number), read_only=True)) as db:
            try:
                count += db.execute("SELECT count(*) FROM calls").fetchone()[0]
            except sqlite3.OperationalError:
                continue
    return count


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Eight posts grown by two workers, for reading."""
    from tests.app.conftest import desk_in

    desk = desk_in(tmp_path_factory.mktemp("shared"))
    done = desk.psyllm(*TWO)
    assert done.returncode == 0, done.stderr
    assert "8 of 8 posts done: " in done.stderr
    return desk


def test_two_workers_grow_what_one_grows(shared: Desk, grown: tuple[Desk, object], undisturbed: bytes) -> None:
    run = shared.folder / "run"
    assert shard_numbers(run) == [0, 1]
    with Run(run) as two, Run(grown[0].folder / "run") as one:
        assert {post.id for post in one.posts()} == {post.id for post in two.posts()}
        assert list(two.dialogues()) == list(one.dialogues()), "in the order of the input"
        assert all(database.execute("SELECT count(*) FROM dialogues").fetchone()[0] for database in two.databases)
    assert shared.exported() == undisturbed


def test_every_reader_reads_both_databases(shared: Desk, grown: tuple[Desk, object]) -> None:
    def said(desk: Desk, *arguments: str) -> str:
        done = desk.psyllm(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    one = grown[0]
    assert said(shared, "corpus", "stats", "run") == said(one, "corpus", "stats", "run")
    for line in ("run: 8 posts", "not done"):
        (two_says,) = [row for row in said(shared, "status", "run").splitlines() if line in row]
        assert two_says in said(one, "status", "run")
    with Run(shared.folder / "run") as run:
        names = [dialogue.id for dialogue in run.dialogues() if dialogue.status is Status.ACCEPTED]
    listed = said(shared, "trace", "ls", "run")
    assert all(name[:8] in listed for name in names)
    with Run(shared.folder / "run") as run:
        (far,) = [name for name in names if run.shard_of(name) == 1][:1]
    assert "therapist" in said(shared, "trace", "show", "run", far)


def test_a_fork_goes_where_its_parent_is(shared: Desk) -> None:
    with Run(shared.folder / "run") as run:
        placed = {d.id: run.shard_of(d.id) for d in run.dialogues() if d.status is Status.ACCEPTED}
    name = next(name for name, shard in placed.items() if shard == 1)
    done = shared.psyllm("trace", "fork", "run", name, "--step", "1", "--yes")
    assert done.returncode == 0, done.stderr
    with Run(shared.folder / "run") as run:
        (fork,) = [dialogue for dialogue in run.dialogues(forks=True) if dialogue.forked_from]
        assert (fork.forked_from, run.shard_of(fork.id)) == (name, 1)
        assert len(list(run.calls(fork.id))) > 2


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_any_number_of_workers(desk: Desk, undisturbed: bytes) -> None:
    process = desk.start(*EIGHT, "--rehearsal-latency", "200")
    until(process, lambda: calls(desk) > 6)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    process = desk.start(*EIGHT, "--workers", "3", "--rehearsal-latency", "200")
    until(process, lambda: len(shard_numbers(desk.folder / "run")) == 3 and calls(desk) > 30)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "stopped; nothing is lost, and the same command goes on" in said
    paid = calls(desk)
    done = desk.psyllm(*EIGHT)
    assert done.returncode == 0, done.stderr
    assert "8 of 8 posts done" in done.stderr
    assert desk.exported() == undisturbed
    assert calls(desk) > paid
    with Run(desk.folder / "run") as run:
        assert run.post_count() == 8, "no post is in two databases"
        assert calls(desk) == sum(len(list(run.calls(dialogue.id))) for dialogue in run.dialogues()), "none paid twice"


def test_a_killed_worker_is_replaced(desk: Desk, undisturbed: bytes) -> None:
    process = desk.start(*FOUR, "--rehearsal-latency", "100")
    until(process, lambda: calls(desk) > 10)
    os.kill(children(process)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "was killed; another goes on in its place" in said
    assert "4 of 4 posts done: " in said
    assert desk.exported() == of_first_four(undisturbed)


@pytest.mark.slow
def test_workers_do_not_outlive_their_parent(desk: Desk) -> None:
    process = desk.start(*FOUR, "--rehearsal-latency", "300")
    until(process, lambda: calls(desk) > 4)
    workers = children(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done = desk.psyllm(*FOUR)
    assert done.returncode == 0, "the databases are free again: " + done.stderr


def test_what_is_fatal_in_a_worker_ends_the_run_in_one_line(
    desk: Desk, scripted: Callable[[dict[str, Any]], Endpoint]
) -> None:
    endpoint = scripted({name: {"$status": 401} for name in SCRIPT})
    model = f'base_url = "{endpoint.base_url}"\nmodel = "m"\n'
    desk.write("psyllm.toml", f'profile = "m"\n[models.m]\n{model}[profiles.m]\ndefault = "m"\n')
    done = desk.psyllm(*TWO)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("psyllm: ")]
    assert endpoint.base_url in line
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_limit_is_one_for_all_workers(desk: Desk) -> None:
    done = desk.psyllm(*TWO, "--rehearsal-latency", "200", "--max-tokens", "20000", "--concurrency", "2")
    assert done.returncode == 0, done.stderr
    assert "stopped at --max-tokens 20000: " in done.stderr
    assert calls(desk) > 0


@pytest.mark.slow
def test_people_answer_and_review_what_several_workers_grow(desk: Desk) -> None:
    """At one desk, with one file of labels."""
    run = wizard(desk)
    process = desk.start(*FOUR, "--rounds", "1", "--review")
    answered: set[Path] = set()
    accepted: set[str] = set()
    deadline = time.monotonic() + DEADLINE_S
    while not ended(process) and time.monotonic() < deadline:
        for file in set(waiting_calls(run)) - answered:
            answered.add(file)
            answer(file)
        if len(answered) < 4:
            continue  # by then both databases are there
        with Run(run) as read:
            for dialogue in read.dialogues(Status.IN_REVIEW):
                if dialogue.id not in accepted:
                    accepted.add(dialogue.id)
                    Labels(run).add(Label(dialogue_id=dialogue.id, verdict="accept", reviewer="AB"))
    process.kill()  # if it waits for more
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert "some calls will wait in run/desk; answer them with `psyllm desk run`" in said
    assert "accepted dialogues wait for a person: psyllm view run" in said
    assert f"4 of 4 posts done: {len(accepted)} accepted" in said
    assert accepted


@pytest.mark.slow
def test_merged_runs_read_as_one(desk: Desk, undisturbed: bytes) -> None:
    lines = (desk.folder / "posts.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    desk.write("a.jsonl", "".join(lines[:4]))
    desk.write("b.jsonl", "".join(lines[3:8]))
    for name, workers in (("a", "1"), ("b", "2")):
        done = desk.psyllm("grow", f"{name}.jsonl", "--run", name, "--workers", workers)
        assert done.returncode == 0, done.stderr
    with Run(desk.folder / "b") as run:
        last = list(run.dialogues())[-1].id
    assert desk.psyllm("review", "b", last, "flag", "--by", "AB").returncode == 0
    done = desk.psyllm("merge", "a", "b", "--out", "both")
    assert done.returncode == 0, done.stderr
    assert "both: 8 posts of 2 runs" in done.stderr
    assert "1 of them in more than one run, kept once" in done.stderr
    assert desk.exported("both") == undisturbed
    assert desk.exported("a") == of_first_four(undisturbed)
    assert [label.reviewer for label in Labels(desk.folder / "both").all()] == ["AB"]
    done = desk.psyllm("grow", "posts.jsonl", "--run", "both", "--limit", "8")
    assert "all 8 posts were done before" in done.stderr, done.stderr


def test_runs_of_other_settings_are_not_merged_nor_one_that_grows(desk: Desk) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        Journal.open(desk.folder / name, {"grow.seed": seed}, "0").close()
    done = desk.psyllm("merge", "a", "b", "--out", "both")
    assert done.returncode == 2
    assert "grow.seed: 1 there, 2 here" in done.stderr
    growing = Journal.open(desk.folder / "b", {"grow.seed": 2}, "0")
    done = desk.psyllm("merge", "b", "--out", "both")
    growing.close()
    assert done.returncode == 1
    assert "another process is growing b" in done.stderr
    assert sorted(path.name for path in desk.folder.iterdir()) == ["a", "b", "posts.jsonl"], "nothing is left over"
