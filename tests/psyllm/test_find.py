"""Finding in a run: filters, counts, words; and an index that readers share and that can always be thrown away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from psyllm.errors import UsageError
from psyllm.journal import DATABASE, Journal
from psyllm.messages import Step
from psyllm.records import Post, PromptRef, Reason, Status
from psyllm.runs import Run
from psyllm.runs.find import END, START, Filter, Hit, count, find, reason_counts, search
from psyllm.runs.index import FILE, Index
from tests.psyllm.test_runs import CALL, dialogue, write

OLD = PromptRef(id="cbt", version="1.0", sha256="aaaaaaaaaaaa")
NEW = PromptRef(id="cbt", version="1.1", sha256="bbbbbbbbbbbb")
THERAPIST = PromptRef(id="therapist", version="1.0", sha256="cccccccccccc")


def say(journal: Journal, name: str, post: str, words: str, *, role: str = "therapist", **changes: object) -> None:
    """One call of a dialogue, answered with these words."""
    step = Step(dialogue_id=name, post_id=post, repeat=0, round=1, node="respond", attempt=0)
    call = replace(CALL, key=(name + role).encode().ljust(32), step=step, role=role, parsed=f'{{"text": "{words}"}}')
    journal.record(replace(call, **changes), 0 if role == "patient" else 1)  # type: ignore[arg-type]


def fill(journal: Journal) -> None:
    texts = {"p1": "The kettle is never off.", "p2": "Nobody rings.", "p3": "Übermüdet, café closed."}
    journal.add_posts((n, Post(id=name, text=text)) for n, (name, text) in enumerate(texts.items()))
    say(journal, "d1", "p1", "Leave it, she said, and the eggs on the floor.", role="patient")
    say(journal, "d1", "p1", "Which part stayed with you?", prompts=(THERAPIST, OLD), model="big")
    say(journal, "d2", "p2", "The eggs again. I left it there.", prompts=(THERAPIST, NEW))
    say(journal, "d3", "p3", "Nothing.", prompts=(THERAPIST, NEW))
    journal.finish(dialogue("d3", "p3", Status.ACCEPTED, modality="cbt"))
    journal.finish(dialogue("d1", "p1", Status.REJECTED, "template_trace", modality="cbt"))
    journal.finish(dialogue("d2", "p2", Status.REJECTED, "template_trace", "parroting", modality="cbt"))
    journal.finish(dialogue("f1", "p1", Status.ACCEPTED, modality="cbt").model_copy(update={"forked_from": "d1"}))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write(tmp_path / "run", fill)


def ids(folder: Path, wanted: Filter) -> list[str]:
    with Run(folder) as run, Index(run) as index:
        index.refresh(words=bool(wanted.words))
        found = [row.id for row in find(index, wanted)]
        assert count(index, wanted) == len(found)
    return found


def hits(folder: Path, pattern: str, role: str = "") -> list[Hit]:
    with Run(folder) as run, Index(run) as index:
        index.refresh(words=True)
        return list(search(index, pattern, role=role))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), ["d1", "f1", "d2", "d3"]),
        (Filter(status="rejected"), ["d1", "d2"]),
        (Filter(reason="parroting"), ["d2"]),
        (Filter(role="therapist"), ["d1", "d2"]),
        (Filter(role="planner"), []),
        (Filter(modality="act"), []),
        (Filter(severity="mild", status="accepted"), ["f1", "d3"]),
        (Filter(model="big"), ["d1"]),
        (Filter(prompt="cbt"), ["d1", "d2", "d3"]),
        (Filter(prompt="cbt@1.1"), ["d2", "d3"]),
        (Filter(prompt="cbt@1"), []),
        (Filter(prompt="aaaaaa"), ["d1"]),
        (Filter(forks_of="d1"), ["f1"]),
        (Filter(words="eggs"), ["d1", "d2"]),
        (Filter(words="kettle", status="rejected"), ["d1"]),
        (Filter(since=4e9), []),
    ],
)
def test_a_filter_lists_what_holds_all_of_it_in_the_order_of_posts(
    run: Path, wanted: Filter, expected: list[str]
) -> None:
    assert ids(run, wanted) == expected


def test_a_page_of_a_list(run: Path) -> None:
    with Run(run) as opened, Index(opened) as index:
        index.refresh()
        assert [row.id for row in find(index, limit=2, offset=1)] == ["f1", "d2"]
        first, fork, *_ = find(index)
    assert (first.reasons, first.blamed, first.calls, first.prompt_tokens) == (
        ("template_trace",),
        ("therapist",),
        2,
        20,
    )
    assert fork.forked_from == "d1"


def test_reasons_are_counted_by_modality_and_prompts_of_the_blamed_role_and_forks_are_not(run: Path) -> None:
    with Run(run) as opened, Index(opened) as index:
        index.refresh()
        counts = [(c.code, c.modality, c.prompts[0], c.dialogues, c.of) for c in reason_counts(index)]
    assert counts == [
        ("template_trace", "cbt", "cbt@1.0#aaaaaaaaaaaa", 1, 1),
        ("parroting", "cbt", "cbt@1.1#bbbbbbbbbbbb", 1, 2),
        ("template_trace", "cbt", "cbt@1.1#bbbbbbbbbbbb", 1, 2),
    ]


@pytest.mark.parametrize(
    ("pattern", "role", "expected"),
    [
        ("eggs", "", [("d2", 1), ("d1", 0)]),
        ("EGGS left", "", [("d2", 1)]),
        ('"leave it"', "", [("d1", 0)]),
        ("egg", "", []),
        ("egg*", "patient", [("d1", 0)]),
        ("ubermudet", "post", [("d3", None)]),
        ("CAFÉ", "", [("d3", None)]),
        ("eggs OR Nothing", "", []),
        ("said:eggs", "", []),
        ('eggs" NEAR(', "", []),
    ],
)
def test_words_are_found_where_they_are_said(
    run: Path, pattern: str, role: str, expected: list[tuple[str, int | None]]
) -> None:
    assert [(hit.dialogue_id, hit.position) for hit in hits(run, pattern, role)] == expected


def test_a_snippet_shows_the_words_with_some_around_them(run: Path) -> None:
    (hit,) = hits(run, "floor")
    assert hit.snippet == f"Leave it, she said, and the eggs on the {START}floor{END}."
    assert (hit.role, hit.path) == ("patient", "1/respond/0/0")


@pytest.mark.parametrize("pattern", ["", "...", '""'])
def test_a_pattern_without_a_word_is_refused(run: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="no word"):
        hits(run, pattern)


def grow_on(folder: Path, more: Callable[[Journal], None]) -> None:
    write(folder, more)


def test_what_is_added_later_is_found_by_an_index_that_is_open(run: Path) -> None:
    with Run(run) as opened, Index(opened) as index:
        index.refresh(words=True)
        assert not search(index, "lamp")

        def more(journal: Journal) -> None:
            journal.add_posts([(3, Post(id="p4", text="A lamp."))])
            say(journal, "d4", "p4", "That lamp.")
            journal.finish(dialogue("d4", "p4", Status.FAILED, "endpoint_failed"))

        grow_on(run, more)
        index.refresh(words=True)
        assert [hit.role for hit in search(index, "lamp")] == ["therapist", "post"]
        assert [row.status for row in find(index, Filter(post_id="p4"))] == ["failed"]
        grow_on(run, lambda journal: journal.finish(dialogue("d4", "p4", Status.ACCEPTED)))
        index.refresh()
        assert [(row.status, row.reasons) for row in find(index, Filter(post_id="p4"))] == [("accepted", ())]


def test_posts_are_found_as_soon_as_the_run_keeps_them_in_whatever_order(run: Path) -> None:
    def expect(journal: Journal) -> None:
        journal.expect_posts((n, f"p{n}", b"") for n in range(4, 7))
        for n in range(4, 7):
            journal.finish(dialogue(f"d{n}", f"p{n}", Status.ACCEPTED))

    grow_on(run, expect)
    with Run(run) as opened, Index(opened) as index:
        for number, name in enumerate(("p6", "p4", "p5")):
            index.refresh(words=True)
            assert len(list(search(index, "lamp"))) == number
            lamp = Post(id=name, text=f"A lamp, says {name}.")
            grow_on(run, lambda journal, lamp=lamp: journal.add_posts([(0, lamp)]))  # type: ignore[misc]
        index.refresh(words=True)
        assert sorted(hit.dialogue_id for hit in search(index, "lamp")) == ["d4", "d5", "d6"]


def test_several_databases_are_listed_and_searched_as_one(run: Path) -> None:
    def second(journal: Journal) -> None:
        journal.add_posts([(9, Post(id="q", text="Elsewhere."))])
        say(journal, "e1", "q", "The eggs too.")
        journal.finish(dialogue("e1", "q", Status.REJECTED, "parroting"))

    write(run.parent / "other", second)
    (run.parent / "other" / DATABASE).rename(run / "journal-1.db")
    assert ids(run, Filter(status="rejected")) == ["d1", "d2", "e1"]
    assert {hit.dialogue_id for hit in hits(run, "eggs")} == {"d1", "d2", "e1"}


def test_an_index_of_another_run_or_a_broken_one_is_built_anew(run: Path, tmp_path: Path) -> None:
    assert ids(run, Filter(words="eggs")) == ["d1", "d2"]
    other = write(tmp_path / "other", lambda journal: journal.finish(dialogue("x", "y", Status.ACCEPTED)))
    (run / FILE).rename(other / FILE)
    assert ids(other, Filter()) == ["x"]
    (run / FILE).write_bytes(b"this is no database, but it is long enough to be looked at " * 20)
    assert ids(run, Filter(words="eggs")) == ["d1", "d2"]


def test_where_the_index_cannot_be_written_it_lives_in_memory(run: Path) -> None:
    (run / FILE).mkdir()
    assert ids(run, Filter(words="eggs")) == ["d1", "d2"]
    assert (run / FILE).is_dir()


READER = """
import sys
from pathlib import Path
from psyllm.runs import Run
from psyllm.runs.find import search
from psyllm.runs.index import Index
with Run(Path(sys.argv[1])) as run, Index(run) as index:
    sys.stdin.readline()
    index.refresh(words=True)
    print(len(search(index, "eggs", limit=10_000)))
"""


def test_several_readers_may_build_it_at_once(tmp_path: Path) -> None:
    def many(journal: Journal) -> None:
        journal.add_posts((n, Post(id=f"p{n}", text="x")) for n in range(3000))
        for n in range(3000):
            say(journal, f"d{n}", f"p{n}", "The eggs.")
            journal.finish(dialogue(f"d{n}", f"p{n}", Status.ACCEPTED))

    folder = write(tmp_path / "run", many)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.write("\n")
        reader.stdin.flush()
    assert [int(reader.communicate(timeout=60)[0]) for reader in readers] == [3000] * 3
    assert ids(folder, Filter(status="accepted"))[:2] == ["d0", "d1"]


def test_reasons_that_blame_nobody_count_against_all_of_their_modality(tmp_path: Path) -> None:
    def mixed(journal: Journal) -> None:
        whole = Reason(code="no_movement", role="dialogue")
        journal.finish(dialogue("d1", "p1", Status.REJECTED, modality="mi").model_copy(update={"reasons": (whole,)}))
        journal.finish(dialogue("d2", "p2", Status.ACCEPTED, modality="mi"))

    folder = write(tmp_path / "run", mixed)
    with Run(folder) as run, Index(run) as index:
        index.refresh()
        assert [(c.code, c.prompts, c.dialogues, c.of) for c in reason_counts(index)] == [("no_movement", (), 1, 2)]
