"""`psyllm prompt ab`: the paired table over 20 posts, and that only changed calls were made."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.prompt_ab import AbOptions, ab_command
from app.prompt_arms import FEWEST, estimate
from prompts.library import SHIPPED
from psyllm.errors import UsageError
from psyllm.journal import DATABASE, connect
from psyllm.records import Status
from psyllm.runs import Run
from tests.app.conftest import Desk, Done, desk_in
from tests.conftest import EXAMPLES

AB = ("prompt", "ab", "cbt@1.1", "cbt", "--posts", "posts.jsonl", "--prompts", "mine", "--out", "ab")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Done]:
    """cbt as shipped against cbt with one more sentence for the therapist, over 20 posts."""
    desk = desk_in(tmp_path_factory.mktemp("ab"))
    desk.write("psyllm.toml", "[grow]\nmax_rounds = 2\n")
    text = (SHIPPED / "modalities" / "cbt.md").read_text(encoding="utf-8")
    text = text.replace('version: "1.1"', 'version: "1.2"').replace(
        "# Therapist\n", "# Therapist\nStay in one minute.\n"
    )
    desk.write("mine/modalities/cbt.md", text)
    done = desk.psyllm(*AB, "--limit", "20")
    assert done.returncode == 0, done.stderr
    return desk, done


def keys(run: Path, *nodes: str) -> set[tuple[bytes, float]]:
    """Key and time of request of a run's calls, of all nodes or of some in round 1 and before."""
    with closing(connect(run / DATABASE, read_only=True)) as db:
        rows = db.execute("SELECT path, key, started FROM calls").fetchall()
    return {
        (key, started) for path, key, started in rows if not nodes or (path[0] in "01" and path.split("/")[1] in nodes)
    }


def test_only_changed_calls_are_made(compared: tuple[Desk, Done]) -> None:
    desk, done = compared
    a, b = desk.folder / "ab" / "a" / "1", desk.folder / "ab" / "b" / "1"
    shared = keys(a) & keys(b)
    made = len(keys(b)) - len(shared)
    told = f"calls: a {len(keys(a))} made; b {made} made, {len(shared)} the same as a's and taken over from its journal"
    assert told in done.stdout
    same = ("plan", "patient", "hear", "diagnose", "verify")
    assert keys(a, *same) == keys(b, *same) == shared
    assert not keys(a, "respond") & keys(b, "respond")
    with closing(sqlite3.connect(b / DATABASE)) as db:
        assert db.execute("SELECT count(*) FROM steps").fetchone() == (len(keys(b)),)


def test_a_call_taken_over_is_kept_whole(compared: tuple[Desk, Done]) -> None:
    desk, _ = compared
    with Run(desk.folder / "ab" / "a" / "1") as a, Run(desk.folder / "ab" / "b" / "1") as b:
        dialogue = next(a.dialogues(Status.ACCEPTED)).id
        assert next(a.calls(dialogue)) == next(b.calls(dialogue))


def test_the_paired_table(compared: tuple[Desk, Done]) -> None:
    desk, done = compared
    rates = []
    for arm in ("a", "b"):
        with Run(desk.folder / "ab" / arm / "1") as run:
            ends = {d.post_id: d.status for d in run.dialogues() if d.status is not Status.SCREENED_OUT}
        rates.append(sum(status is Status.ACCEPTED for status in ends.values()) / len(ends))
    row = re.search(r"^accepted +(\S+)% +(\S+)% +(\S+)% +(\S+)% to (\S+)% +(\d+)$", done.stdout, re.MULTILINE)
    assert row, done.stdout
    a, b, difference, low, high = (float(value) / 100 for value in row.groups()[:5])
    assert (a, b) == pytest.approx(rates, abs=0.001)
    assert difference == pytest.approx(b - a, abs=0.002)
    assert low <= difference <= high
    assert int(row[6]) == len(ends)
    assert re.search(r"^score modality_fidelity +\d", done.stdout, re.MULTILINE)
    assert re.search(r"^tokens in +[\d,]+ +[\d,]+ +[+-][\d,]+ ", done.stdout, re.MULTILINE)
    assert re.search(r"^cost in USD .* no price", done.stdout, re.MULTILINE)
    assert "dialogues changed" in done.stdout and "round 1, the reply" in done.stdout
    command = next(line for line in done.stdout.splitlines() if line.startswith("psyllm trace show ab/a/1 "))
    assert "modality cbt" in desk.psyllm(*command.split()[1:]).stdout


def test_the_same_command_makes_no_call_again_and_few_posts_give_no_interval(compared: tuple[Desk, Done]) -> None:
    desk, _ = compared
    before = [keys(desk.folder / "ab" / arm / "1") for arm in ("a", "b")]
    done = desk.psyllm(*AB, "--limit", "3")
    assert done.returncode == 0, done.stderr
    assert "3 pairs over 3 posts" in done.stdout
    assert "fewer than 5 posts: none" in done.stdout
    assert [keys(desk.folder / "ab" / arm / "1") for arm in ("a", "b")] == before


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("cbt", "cbt", "are the same text"),
        ("cbt", "patient", "are no versions of one thing"),
        ("cbt", "cbt@99", "there are: cbt@1.1"),
        ("cbt", "old.md", "is no indication; write a disorder"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, a: str, b: str, message: str) -> None:
    text = (SHIPPED / "modalities" / "cbt.md").read_text(encoding="utf-8")
    old = tmp_path / "old.md"
    old.write_text(text.replace("academic_stress", "exam nerves"), encoding="utf-8")
    b = str(old) if b == "old.md" else b
    posts = (EXAMPLES / "posts.jsonl",)
    with pytest.raises(UsageError) as refused:
        ab_command(AbOptions(a, b, posts, 2, 1, tmp_path / "ab", None, None, None))
    assert message in f"{refused.value} {refused.value.hint}"
    assert not (tmp_path / "ab").exists()


def test_repeats_of_a_post_count_as_one() -> None:
    values = [(f"p{n}", 1.0, 1.0 + n % 2) for n in range(FEWEST + 1)]
    once, twice = estimate(values), estimate([*values, *values])
    assert once == twice and once is not None
    assert (once.difference, once.posts) == (0.5, 6)
    assert once.low is not None and once.high is not None and 0 <= once.low < 0.5 < once.high <= 1
    few = estimate(values[: FEWEST - 1])
    assert few is not None and few.low is None
    assert estimate([]) is None
