"""`psyllm prompt` as a user types it: ls, new, show, lint and its watch, diff."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from app.prompt import new_command
from app.prompt_show import show_command
from prompts.library import SHIPPED
from psyllm.errors import UsageError
from tests.app.conftest import Desk, Done
from tests.conftest import EXAMPLES

MISTAKEN = (
    (
        "modalities/cbt.md",
        "academic_stress",
        "academic_stres",
        "academic_stres: nothing clinical is called so; did you",
    ),
    (
        "modalities/act.md",
        "class: defusion",
        "class: defusoin",
        "defusoin: no technique class is called so; did you mean",
    ),
    ("modalities/dbt.md", "sources:", "scources:", "scources: unknown key; did you mean sources?"),
    ("modalities/mi.md", "# Critic", "# Critik", "Critik: unknown section; did you mean critic?"),
    ("roles/patient.md", "{{ round }}", "{{ pateint }}", "pateint: unknown variable"),
    (
        "roles/planner.md",
        "{{ modalities }}",
        "{{ modalites }}",
        "modalites: unknown variable; did you mean modalities?",
    ),
)


def lines(done: Done) -> list[str]:
    return done.stdout.splitlines()


def edit(path: Path, old: str, new: str) -> int:
    """Change a file; the line of the change."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


@pytest.fixture
def mine(desk: Desk) -> Path:
    """A folder of prompts of one's own, still empty."""
    folder = desk.folder / "mine"
    (folder / "modalities").mkdir(parents=True)
    (folder / "roles").mkdir()
    return folder


def test_lint_tells_all_mistakes_of_all_files_in_one_pass(desk: Desk, mine: Path) -> None:
    expected = []
    for name, old, new, message in MISTAKEN:
        shutil.copy(SHIPPED / name, mine / name)
        expected.append((f"mine/{name}:{edit(mine / name, old, new)}: ", message))
    done = desk.psyllm("prompt", "lint", "--prompts", "mine")
    assert done.returncode == 1
    for place, message in expected:
        assert [line for line in lines(done) if line.startswith(place) and message in line], (place, done.stdout)
    assert len([line for line in lines(done) if line.startswith("mine/")]) == len(MISTAKEN)
    assert "6 mistakes" in done.stderr
    refused = desk.psyllm("grow", "posts.jsonl", "--run", "run", "--prompts", "mine")
    assert refused.returncode == 2
    assert "scources" in refused.stderr and "pateint" in refused.stderr
    assert not (desk.folder / "run").exists()


def test_lint_is_content_with_what_is_shipped(desk: Desk) -> None:
    done = desk.psyllm("prompt", "lint")
    assert (done.returncode, done.stdout) == (0, "prompts: 6 roles, 10 modalities: no mistake\n")


def test_what_is_mine_replaces_or_joins_what_is_shipped(desk: Desk, mine: Path) -> None:
    assert desk.psyllm("prompt", "new", "own_school", "--from", "mi", "--prompts", "mine").returncode == 0
    assert desk.psyllm("prompt", "new", "patient", "--from", "patient", "--prompts", "mine").returncode == 0
    assert desk.psyllm("prompt", "new", "cbt", "--from", "cbt", "--prompts", "mine").returncode == 0
    listed = desk.psyllm("prompt", "ls", "--prompts", "mine")
    rows = {row.split()[0]: " ".join(row.split()) for row in lines(listed)}
    assert "own_school modality 0.1" in rows["own_school"] and " yours Evokes" in rows["own_school"]
    assert "yours, replaces shipped" in rows["patient"] and "yours, replaces shipped" in rows["cbt"]
    assert " shipped " in rows["act"] and len(rows) == 6 + 11 + 1
    done = desk.psyllm("prompt", "lint", "--prompts", "mine")
    assert done.returncode == 0
    assert "mine/roles/patient.md: note: replaces the shipped role patient in every dialogue" in done.stdout


def test_new_overwrites_nothing_and_says_what_it_wants(mine: Path) -> None:
    new_command("own_school", "mi", mine, None)
    path = mine / "modalities" / "own_school.md"
    path.write_text("my words", encoding="utf-8")
    wrong = {
        ("own_school", "mi"): "exists",
        ("My School", "mi"): "'My School' is no id",
        ("patient", "mi"): "patient is a role's name",
        ("dbt", "mi"): "a modality is called dbt already",
        ("own", "patient"): "patient is a role, and there are no other roles",
        ("own", "mii"): r"no prompt is called 'mii'; did you mean mi\?",
    }
    for (name, source), message in wrong.items():
        with pytest.raises(UsageError, match=message):
            new_command(name, source, mine, None)
    with pytest.raises(UsageError, match="which folder of your own"):
        new_command("own", "mi", None, None)
    assert path.read_text(encoding="utf-8") == "my words"
    assert [p.name for p in mine.rglob("*.md")] == ["own_school.md"]


def test_a_change_without_a_new_version_is_noticed(desk: Desk, mine: Path) -> None:
    shutil.copy(SHIPPED / "modalities" / "cbt.md", mine / "modalities")
    assert desk.psyllm("prompt", "lint", "--prompts", "mine").returncode == 0
    edit(mine / "modalities" / "cbt.md", "You want a scene", "You want one scene")
    done = desk.psyllm("prompt", "lint", "--prompts", "mine")
    assert "mine/modalities/cbt.md:4: 1.1: differs from the shipped file of this version; raise version" in done.stdout
    edit(mine / "modalities" / "cbt.md", 'version: "1.1"', 'version: "1.2"')
    assert desk.psyllm("prompt", "lint", "--prompts", "mine").returncode == 0

    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "mine"]):
        who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        subprocess.run(["git", "-C", str(mine), *who, *command], check=True)  # noqa: S607 (the user's git)
    assert desk.psyllm("prompt", "lint", "--prompts", "mine").returncode == 0
    edit(mine / "modalities" / "cbt.md", "You want one scene", "You want a single scene")
    done = desk.psyllm("prompt", "lint", "--prompts", "mine")
    assert "cbt.md:4: 1.2: changed since the last commit under the same version; raise version" in done.stdout
    edit(mine / "modalities" / "cbt.md", 'version: "1.2"', 'version: "1.3"')
    assert desk.psyllm("prompt", "lint", "--prompts", "mine").returncode == 0

    words = desk.psyllm("prompt", "diff", "HEAD:cbt", "cbt", "--prompts", "mine").stdout
    assert "- cbt@1.2#" in words and "git HEAD" in words
    assert "+ You want a single scene, not a summary" in words
    assert "cbt@1.3" in desk.psyllm("prompt", "diff", "cbt@1.2", "mine/modalities/cbt.md", "--prompts", "mine").stdout


def test_watch_checks_again_when_a_file_changes(desk: Desk, mine: Path) -> None:
    path = mine / "modalities" / "cbt.md"
    shutil.copy(SHIPPED / "modalities" / "cbt.md", path)
    process = desk.start("prompt", "lint", "--prompts", "mine", "--watch")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().endswith("no mistake\n")
    assert process.stderr.readline().startswith("watching ")
    line = edit(path, "# Critic", "# Critik")
    told = [process.stdout.readline() for _ in range(3)]
    assert f"cbt.md:{line}: Critik: unknown section; did you mean critic?" in "".join(told)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_show_sends_what_a_call_would_send(desk: Desk, grown: tuple[Desk, Done]) -> None:
    done = desk.psyllm("prompt", "show", "planner", "--post", "posts.jsonl#ex-01-night-shift-warehouse")
    assert done.returncode == 0
    called = grown[0].psyllm("trace", "show", "run", "ex-01", "--step", "0").stdout
    wanted = called[called.index("You prepare cases") : called.index("The task names the candidates in an order")]
    assert " ".join(wanted.split()) in " ".join(done.stdout.split())
    assert "> 34m, on nights at a parcel warehouse" in done.stdout


def test_show_of_a_modality_is_what_therapist_and_critic_read(desk: Desk) -> None:
    done = desk.psyllm("prompt", "show", "ipt")
    assert [line.split(",")[0] for line in lines(done) if "───" in line] == ["therapist", "critic"]
    assert "- encourage_affect: makes room for a feeling" in done.stdout
    assert (
        "[s11] It's more like empty" in done.stdout
        and "Major depressive disorder | DSM-5-TR: insufficient" in done.stdout
    )
    assert "- ending: what is different between people now" in done.stdout
    only = desk.psyllm("prompt", "show", "ipt", "--role", "critic")
    assert "Anti-markers:" in only.stdout and "Three counsellors thinking" not in only.stdout
    first = desk.psyllm("prompt", "show", "diagnostician", "--post", "posts.jsonl#ex-01-night-shift-warehouse")
    assert "[s1] 34m, on nights at a parcel warehouse" in first.stdout
    assert "You are a simulated counsellor" in desk.psyllm("prompt", "show", "counsellor").stdout


@pytest.mark.parametrize(
    ("name", "post", "role", "prompts", "message"),
    [
        ("ipd", None, None, None, r"no prompt is called 'ipd'; did you mean ipt\?"),
        ("ipt", None, "critik", None, r"there is no role 'critik'; did you mean critic\?"),
        ("ipt", "posts.jsonl", None, None, "names no post"),
        ("ipt", f"{EXAMPLES / 'posts.jsonl'}#ex-1", None, None, "holds no post 'ex-1'"),
        ("ipt", None, None, Path("nowhere"), "nowhere is no folder of prompts"),
    ],
)
def test_show_says_what_it_does_not_find(
    name: str, post: str | None, role: str | None, prompts: Path | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        show_command(name, post, role, None, prompts, None)


def test_a_run_is_read_when_its_prompts_have_moved_on(desk: Desk, mine: Path) -> None:
    path = mine / "modalities" / "cbt.md"
    assert desk.psyllm("prompt", "new", "cbt", "--from", "cbt", "--prompts", "mine").returncode == 0
    edit(path, "You want a scene", "You want a zebra scene")
    grow = ("grow", "posts.jsonl", "--run", "run", "--limit", "2", "--modality", "cbt", "--prompts", "mine")
    assert desk.psyllm(*grow).returncode == 0
    edit(path, 'version: "1.2"', 'version: "1.3"')
    edit(path, "zebra scene", "scene with a zebra in it")
    calls = json.loads(desk.psyllm("trace", "show", "run", "ex-01", "--json").stdout)["calls"]
    step = next(call["position"] for call in calls if call["role"] == "therapist")
    assert "You want a zebra scene" in desk.psyllm("trace", "show", "run", "ex-01", "--step", str(step)).stdout
    assert "with other settings" in desk.psyllm(*grow).stderr
    told = desk.psyllm("prompt", "diff", "cbt@1.2", "cbt", "--run", "run", "--prompts", "mine")
    assert told.returncode == 0, told.stderr
    assert "- You want a zebra scene, not a summary" in told.stdout
    rows = {row.split("#")[0]: row.split() for row in lines(told) if row.startswith("cbt@")}
    assert (rows["cbt@1.2"][1], rows["cbt@1.3"][1]) == ("2", "0")
    old = rows["cbt@1.2"][0].partition("#")[2]
    path.unlink()
    assert "- You want a zebra scene" in desk.psyllm("prompt", "diff", f"cbt#{old}", "cbt", "--run", "run").stdout
    assert desk.exported()
