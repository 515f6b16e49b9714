"""The psyllm command from the first --help to a run that is stopped, blocked or out of space, and goes on."""

from __future__ import annotations

import io
import json
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from app.screen import GrowView
from corpus.posts import read_posts
from graphs.grow import Grower
from graphs.table import fingerprint, seated
from prompts.library import Library
from psyllm.journal import DATABASE, Journal
from psyllm.rehearsal import RehearsalProcess
from psyllm.settings import ModelSettings, Price, Profile, Settings
from tests.app.conftest import EIGHT, Desk, Done, until
from tests.conftest import EXAMPLES

FOUR = (*EIGHT[:-1], "4")
HELP = [
    "",
    "intake",
    "grow",
    "status",
    "export",
    "merge",
    "desk",
    "doctor",
    "trace",
    *(
        f"trace {c}"
        for c in ["ls", "reasons", "show", "why", "grep", "tail", "replay", "fork", "diff", "export", "otel"]
    ),
    "clinical",
    *(f"clinical {c}" for c in ("lint", "ls", "show", "check")),
    "prompt",
    *(f"prompt {c}" for c in ("ls", "new", "show", "lint", "try", "diff", "ab")),
    "corpus",
    "corpus stats",
]
GROUPS = ("", "trace", "clinical", "prompt", "corpus")
LOADED = """
import sys
from app.cli import main
try:
    main()
except SystemExit as end:
    assert end.code in (0, None)
print("LOADED", *{name.partition(".")[0] for name in sys.modules})
"""


@pytest.mark.parametrize("command", HELP)
def test_help_shows_an_example_and_loads_nothing_heavy(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *command.split(), "--help"], capture_output=True, text=True, check=True
    )
    text, _, loaded = done.stdout.partition("LOADED")
    assert "Usage:" in text
    assert command in GROUPS or f"Example:  psyllm {command}" in text
    heavy = {"torch", "transformers", "trl", "vllm", "langgraph", "langchain_core", "langchain_openai", "openai"}
    heavy |= {"datasets", "pyarrow", "matplotlib", "numpy", "scipy"}
    assert not heavy & set(loaded.split())


def test_a_bare_command_shows_its_help_and_says_that_it_is_no_service(desk: Desk) -> None:
    done = desk.psyllm()
    assert done.returncode == 2
    words = done.stdout + done.stderr
    assert "no crisis service" in words
    for command in ("grow", "status", "export", "doctor", "trace"):
        assert f" {command} " in words


def test_shell_completion_is_offered(desk: Desk) -> None:
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # else the shell that ran the tests is asked for
    done = desk.psyllm("--show-completion", "bash", env=named)
    assert done.returncode == 0
    assert "_psyllm_completion()" in done.stdout
    words = {"_PSYLLM_COMPLETE": "complete_bash", "COMP_WORDS": "psyllm gr", "COMP_CWORD": "1"}
    assert desk.psyllm(env=words).stdout.split() == ["grow"]


def test_growing_is_quiet_where_nobody_watches(grown: tuple[Desk, Done]) -> None:
    _, done = grown
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 8
    assert "stand-in words" in done.stderr
    assert "8 of 8 posts done: " in done.stderr
    assert "next: psyllm status run" in done.stderr
    assert not {"\x1b", "\r", "━"} & set(done.stderr)


def of_first_four(rows: bytes) -> bytes:
    names = [post.id for post in read_posts([EXAMPLES / "posts.jsonl"]).posts[:4]]
    return b"".join(row for row in rows.splitlines(keepends=True) if json.loads(row)["post_id"] in names)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_run_goes_on_to_the_same_dialogues(desk: Desk, undisturbed: bytes, number: signal.Signals) -> None:
    process = desk.start(*FOUR, "--rehearsal-latency", "300")
    until(process, lambda: desk.count("calls") > 4)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert "the same command goes on" in stderr
    paid, done_before = desk.count("calls"), desk.count("dialogues")
    assert done_before < 4
    done = desk.psyllm(*FOUR)
    assert done.returncode == 0
    assert "4 of 4 posts done" in done.stderr
    assert desk.count("calls") > paid
    assert desk.exported() == of_first_four(undisturbed)


def test_a_second_ctrl_c_stops_at_once(desk: Desk) -> None:
    process = desk.start(*EIGHT, "--rehearsal-latency", "20000")
    until(process, lambda: desk.count("posts") == 8)
    assert process.stderr is not None
    assert "stand-in words" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert "once more stops at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "the same command goes on" in stderr


def test_one_process_at_a_time(desk: Desk) -> None:
    process = desk.start(*EIGHT, "--rehearsal-latency", "2000")
    until(process, lambda: desk.count("calls") > 0)
    second = desk.psyllm(*EIGHT)
    assert (second.returncode, second.stdout) == (1, "")
    assert "another process is growing run" in second.stderr
    assert "give another --run" in second.stderr
    assert desk.psyllm("status", "run").returncode == 0, "reading is for everybody"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="a process's limits can be changed from outside on Linux")
def test_a_full_disk_ends_the_run_and_with_room_again_it_goes_on(desk: Desk, undisturbed: bytes) -> None:
    process = desk.start(*FOUR, "--rehearsal-latency", "100")
    until(process, lambda: desk.count("calls") > 4)
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, hard))
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (1, "")
    assert "Traceback" not in stderr
    assert "cannot write the journal of run" in stderr
    assert "run the same command: it goes on" in stderr
    assert desk.psyllm(*FOUR).returncode == 0
    assert desk.exported() == of_first_four(undisturbed)


def test_the_very_last_write_may_fail_too(desk: Desk, undisturbed: bytes) -> None:
    assert desk.psyllm(*FOUR[:-1], "3").returncode == 0
    last = json.loads((desk.folder / "posts.jsonl").read_text(encoding="utf-8").splitlines()[3])["id"]
    with closing(sqlite3.connect(desk.folder / "run" / DATABASE)) as db:
        db.execute(
            "CREATE TRIGGER no_room BEFORE INSERT ON dialogues"
            f" WHEN NEW.post_id = '{last}' BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        db.commit()
    done = desk.psyllm(*FOUR)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot write the journal of run" in done.stderr and "disk is full" in done.stderr
    with closing(sqlite3.connect(desk.folder / "run" / DATABASE)) as db:
        db.execute("DROP TRIGGER no_room")
        db.commit()
    assert desk.psyllm(*FOUR).returncode == 0
    assert desk.exported() == of_first_four(undisturbed)


def test_no_room_to_start_in_is_told_and_the_same_command_goes_on(desk: Desk, undisturbed: bytes) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000));from app.cli import main; main()",
            *FOUR,
        ],
        cwd=desk.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot write the journal of run" in done.stderr
    assert desk.psyllm(*FOUR).returncode == 0
    assert desk.exported() == of_first_four(undisturbed)


def settings_for(base_url: str) -> str:
    model = f'[models.m]\nbase_url = "{base_url}"\nmodel = "rehearsal"\ntries = 2\n'
    return f'profile = "m"\n{model}[profiles.m]\ndefault = "m"\n'


def test_an_endpoint_that_is_down_and_then_up_again(desk: Desk) -> None:
    desk.write("psyllm.toml", settings_for("http://127.0.0.1:9/v1"))
    command = ("grow", "posts.jsonl", "--run", "run", "--limit", "2")
    done = desk.psyllm(*command)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    for words in ("m: cannot connect to http://127.0.0.1:9/v1", "2 tries", "psyllm doctor", "it goes on"):
        assert words in done.stderr
    with RehearsalProcess() as server:
        desk.write("psyllm.toml", settings_for(server.base_url))
        done = desk.psyllm(*command)
    assert done.returncode == 0
    assert "2 of 2 posts done" in done.stderr


def test_the_doctor_finds_the_rehearsal_well(desk: Desk) -> None:
    done = desk.psyllm("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("ok ") >= 4
    assert "failed" not in done.stdout
    assert "model rehearsal (planner, patient, diagnostician, therapist, critic)" in done.stdout


def test_the_doctor_names_the_model_that_does_not_answer(desk: Desk) -> None:
    text = '[models.gone]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m[/]"\n'
    desk.write("psyllm.toml", text + '[profiles.mixed]\ndefault = "rehearsal"\ncritic = "gone"\n')
    done = desk.psyllm("doctor", "--models", "mixed")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "ok      model rehearsal (planner, patient, diagnostician, therapist)" in done.stdout
    assert "failed  model gone (critic): cannot connect to http://127.0.0.1:9/v1" in done.stdout
    assert "1 of 2 models do not answer" in done.stderr
    desk.write("psyllm.toml", text + 'api_key_env = "SOME_API_KEY"\n[profiles.mixed]\ndefault = "gone"\n')
    assert "SOME_API_KEY is not set -> export SOME_API_KEY=" in desk.psyllm("doctor", "--models", "mixed").stdout


@pytest.mark.parametrize(
    ("price", "shown"), [(None, "no price"), (Price(input=100.0, output=400.0), "$")], ids=["no price", "price"]
)
async def test_the_live_view_counts_dialogues_calls_tokens_and_cost(
    tmp_path: Path, price: Price | None, shown: str
) -> None:
    model = ModelSettings(kind="rehearsal", model="rehearsal", sampling={}, price=price)
    settings = Settings(profile="p", models={"m": model}, profiles={"p": Profile(default="m")})
    library = Library()
    journal = Journal.open(tmp_path / "run", fingerprint(settings, None, settings.rules, library), "0")
    screen = Console(width=100, file=io.StringIO(), force_terminal=True, color_system=None)
    view = GrowView(rehearsal=True)
    posts = read_posts([EXAMPLES / "posts.jsonl"]).posts
    try:
        async with seated(settings, None, settings.rules, library, journal) as (cast, caller):
            screen.print(view)
            grower = Grower(cast, caller, journal, (posts[0], posts[4], posts[20]), open_dialogues=3)
            view.watch(grower.tally, grower.caller.meter, journal.folder)
            await grower.run()
            view.refresh()
            screen.print(view)
    finally:
        journal.close()
    assert isinstance(screen.file, io.StringIO)
    first, *lines = screen.file.getvalue().splitlines()
    assert "starting" in first
    text = "\n".join(lines)
    assert len(lines) <= 10
    assert "3/3" in text
    assert "1 screened out" in text
    assert f"{caller.meter.calls} calls, " in text
    assert "k in, " in text
    assert shown in text
    assert "reasons: post_too_short 1" in text
    assert "stand-in words" in text
