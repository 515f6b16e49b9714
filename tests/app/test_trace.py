"""`psyllm trace`: find, explain, compare, replay, fork and hand on, on a rehearsal run as a user would."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prompts.library import SHIPPED
from psyllm.journal import Journal
from psyllm.records import Dialogue, Status
from psyllm.runs import Run, StoredCall
from tests.app.conftest import Desk, Done, desk_in, until
from tests.app.test_bad_input import refused
from tests.app.test_status_export_show import HOSTILE, hostile_run

TWELVE = ("grow", "posts.jsonl", "--run", "run", "--limit", "12")
OTHER_PROMPT = "\n\nName one concrete detail of theirs before anything else.\n"


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A finished rehearsal run over twelve posts, some of them rejected at their first fault; for reading only."""
    desk = desk_in(tmp_path_factory.mktemp("traced"))
    desk.write("psyllm.toml", "[grow]\nmax_revisions = 0\nseed = 2\n")
    done = desk.psyllm(*TWELVE)
    assert done.returncode == 0, done.stderr
    before = desk.dump()
    yield desk
    assert desk.dump() == before, "a test changed the shared run"


@pytest.fixture
def own(traced: Desk, tmp_path: Path) -> Desk:
    """A copy of that run which a test may change."""
    shutil.copytree(traced.folder, tmp_path, dirs_exist_ok=True)
    return Desk(tmp_path)


def rejected(desk: Desk) -> tuple[Dialogue, tuple[StoredCall, ...]]:
    """The dialogue in which the therapist is to blame, and its calls."""
    with Run(desk.folder / "run") as run:
        found = next(d for d in run.dialogues(Status.REJECTED) if d.reasons[0].role == "therapist")
        return found, tuple(run.calls(found.id))


def blamed_step(calls: tuple[StoredCall, ...]) -> StoredCall:
    return [call for call in calls if call.node == "respond"][-1]


def funnel(desk: Desk) -> object:
    """What status counts of posts and dialogues."""
    with Run(desk.folder / "run") as run:
        return run.status_counts(), run.reasons(), run.accepted_by_mode(), run.coverage()


def printed(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def edited_modality(desk: Desk, call: StoredCall) -> str:
    """The modality prompt of a call, saved beside the run with one more sentence in it."""
    name = next(prompt.partition("@")[0] for prompt in call.prompts if not prompt.startswith("therapist@"))
    text = (SHIPPED / "modalities" / f"{name}.md").read_text(encoding="utf-8")
    return desk.write(f"{name}.md", text.replace("# Therapist\n", f"# Therapist\n{OTHER_PROMPT}"))


# ---------------------------------------------------------------- reading


def test_ls_lists_what_matches(traced: Desk) -> None:
    dialogue, _ = rejected(traced)
    rows = printed(traced.psyllm("trace", "ls", "run", "--json"))
    assert len(rows) == 12
    assert {"id", "status", "modality", "reasons", "cost_usd", "forked_from"} <= rows[0].keys()
    only = ("--status", "rejected", "--role", "therapist", "--reason", dialogue.reasons[0].code, "--since", "1h")
    with Run(traced.folder / "run") as run:
        codes = {d.id: [r.code for r in d.reasons if r.role == "therapist"] for d in run.dialogues(Status.REJECTED)}
    expected = [name for name, blamed in codes.items() if dialogue.reasons[0].code in blamed]
    assert [row["id"] for row in printed(traced.psyllm("trace", "ls", "run", *only, "--json"))] == expected
    shown = traced.psyllm("trace", "ls", "run", *only)
    assert re.search(rf"{dialogue.id[:8]} +{dialogue.post_id} +rejected .* {dialogue.reasons[0].code}", shown.stdout)


def test_nothing_found_is_exit_1_with_the_next_step(traced: Desk) -> None:
    for arguments in (
        ("ls", "run", "--status", "failed"),
        ("reasons", "run", "--modality", "reiki"),
        ("grep", "run", "xylophone"),
        ("why", "run", "zz"),
        ("show", "run", "zz"),
    ):
        refused(traced.psyllm("trace", *arguments), "run", code=1)
    none = traced.psyllm("trace", "ls", "run", "--status", "failed", "--json")
    assert (none.returncode, json.loads(none.stdout)) == (1, [])


def test_a_filter_that_cannot_be_meant_is_refused(traced: Desk) -> None:
    refused(traced.psyllm("trace", "ls", "run", "--status", "done"), "'done'", "accepted, rejected")
    refused(traced.psyllm("trace", "ls", "run", "--role", "nurse"), "'nurse'", "therapist")
    refused(traced.psyllm("trace", "ls", "run", "--severity", "grave"), "'grave'", "moderate")
    refused(traced.psyllm("trace", "grep", "run", "bus", "--role", "nurse"), "'nurse'", "post")
    refused(traced.psyllm("trace", "ls", "run", "--since", "lately"), "'lately'", "2h")
    refused(traced.psyllm("trace", "grep", "run", "..."), "no word")
    refused(traced.psyllm("trace", "diff", "run", "a", "b", "--only", "all"), "'all'")


def test_reasons_are_counted_with_the_prompt_version(traced: Desk) -> None:
    dialogue, _ = rejected(traced)
    assert dialogue.plan is not None
    rows = printed(traced.psyllm("trace", "reasons", "run", "--role", "therapist", "--json"))
    place = (dialogue.reasons[0].code, dialogue.plan.modality.chosen)
    (own,) = [row for row in rows if (row["code"], row["modality"]) == place]
    assert 1 <= own["dialogues"] <= own["of"]
    names = [prompt.partition("@")[0] for prompt in own["prompts"]]
    assert names == sorted(["therapist", dialogue.plan.modality.chosen])
    assert f"{dialogue.plan.modality.chosen}@" in traced.psyllm("trace", "reasons", "run").stdout


def test_show_ends_with_the_tree_of_calls(traced: Desk) -> None:
    dialogue, calls = rejected(traced)
    text = traced.psyllm("trace", "show", "run", dialogue.id).stdout
    for call in calls:
        assert re.search(rf"^ *{call.position} .*{call.role} ", text, re.MULTILINE), call.path
    assert f"{len(calls)} calls, " in text
    whole = printed(traced.psyllm("trace", "show", "run", dialogue.id, "--json"))
    assert Dialogue.model_validate(whole["dialogue"]) == dialogue
    one = printed(traced.psyllm("trace", "show", "run", dialogue.id, "--step", "2", "--json"))
    assert [text for _, text in one["messages"]] == [text for _, text in calls[2].messages]


def test_the_tree_of_calls_is_whole_on_a_terminal_of_80_columns(traced: Desk) -> None:
    dialogue, calls = rejected(traced)
    text = traced.psyllm("trace", "show", "run", dialogue.id, env={"COLUMNS": "80"}).stdout
    tree = text[text.index("step  calls") :]
    assert "…" not in tree
    for call in calls:
        assert re.search(rf"^ *{call.position} .*{call.role} .*{call.seconds:.2f}", tree, re.MULTILINE), call.path


def test_why_names_evidence_step_and_role_and_a_command_that_works(own: Desk) -> None:
    dialogue, calls = rejected(own)
    reason, step = dialogue.reasons[0], blamed_step(calls).position
    text = " ".join(own.psyllm("trace", "why", "run", dialogue.id[:6]).stdout.split())
    assert "rejected by" in text
    assert f"{reason.code} " in text
    assert f"therapist, round {reason.round}, step {step}" in text
    assert reason.detail in text
    told = printed(own.psyllm("trace", "why", "run", dialogue.id[:6], "--json"))
    assert told["next"] in text
    program, *arguments = told["next"].split()
    assert (program, arguments[:2], arguments[4:6]) == ("psyllm", ["trace", "fork"], ["--step", str(step)])
    shutil.copytree(SHIPPED / "modalities", own.folder / "prompts" / "modalities")
    done = own.psyllm(*arguments, "--yes")
    assert done.returncode == 0, done.stderr


def test_grep_shows_who_says_it_and_where(traced: Desk) -> None:
    dialogue, calls = rejected(traced)
    words = dialogue.turns[0].client[0].text
    hits = printed(traced.psyllm("trace", "grep", "run", f'"{words}"', "--role", "patient", "--json"))
    spoken = [call.position for call in calls if call.node == "patient" and call.round == 1 and call.parsed]
    assert (dialogue.id, spoken[-1]) in [(hit["dialogue"], hit["step"]) for hit in hits]
    assert {hit["role"] for hit in hits} == {"patient"}
    shown = traced.psyllm("trace", "grep", "run", f'"{words}"', "--role", "patient").stdout
    assert f"{dialogue.id[:8]} step {spoken[-1]}" in shown


def test_diff_of_two_dialogues_and_of_one_with_itself(traced: Desk) -> None:
    dialogue, _ = rejected(traced)
    with Run(traced.folder / "run") as run:
        other = next(run.dialogues(Status.ACCEPTED))
    found = printed(traced.psyllm("trace", "diff", "run", dialogue.id, other.id, "--json"))
    assert (found["a"]["status"], found["b"]["status"]) == ("rejected", "accepted")
    changed = {change["what"] for step in found["steps"] for change in step["changes"]}
    assert {"status", "messages", "words.text", "words.presenting_problem"} <= changed
    same = traced.psyllm("trace", "diff", "run", dialogue.id, dialogue.id, "--only", "different")
    assert (same.returncode, "do not differ" in same.stderr) == (1, True)


def test_tail_tells_of_calls_and_dialogues_as_they_come(desk: Desk) -> None:
    grow = desk.start("grow", "posts.jsonl", "--run", "run", "--limit", "2", "--rehearsal-latency", "600")
    until(grow, lambda: desk.count("calls") > 0)
    tail = desk.start("trace", "tail", "run")
    assert tail.stdout is not None
    seen: list[str] = []
    for line in tail.stdout:
        seen.append(line)
        if sum("post ex-" in told for told in seen) == 2:
            break
    grow.communicate(timeout=60)
    tail.send_signal(signal.SIGINT)
    _, stderr = tail.communicate(timeout=20)
    assert (tail.returncode, stderr) == (0, "")
    assert any(re.search(r"therapist +1/respond/0/0 +rehearsal +\S+ in, \S+ out", line) for line in seen)
    assert any(re.search(r"(accepted|rejected) +post ex-01", line) for line in seen)


# ---------------------------------------------------------------- replay and fork


def test_replay_pays_one_call_and_leaves_the_dialogue_as_it_was(own: Desk) -> None:
    dialogue, calls = rejected(own)
    step, paid = blamed_step(calls), own.count("calls")
    told = printed(own.psyllm("trace", "replay", "run", dialogue.id, "--step", str(step.position), "--json"))
    assert own.count("calls") == paid + 1
    assert (told["old"]["reply"], told["old"]["sample"], told["new"]["sample"]) == (step.reply, 0, 1)
    assert told["new"]["messages"] == told["old"]["messages"]
    assert rejected(own) == (dialogue, calls)


def test_replay_with_an_edited_prompt_shows_old_and_new(own: Desk) -> None:
    dialogue, calls = rejected(own)
    step = blamed_step(calls)
    file = edited_modality(own, step)
    done = own.psyllm("trace", "replay", "run", dialogue.id, "--step", str(step.position), "--prompt", file)
    assert done.returncode == 0, done.stderr
    assert f"+{OTHER_PROMPT.strip()}" in done.stdout
    assert re.search(r"old: .*new: ", done.stdout.replace("\n", " ")) or "old, rehearsal" in done.stdout
    with Run(own.folder / "run") as run:
        new = run.samples(step)[-1]
    assert OTHER_PROMPT.strip() in new.messages[0][1]
    assert new.prompts != step.prompts


def test_a_fork_goes_on_from_the_step_and_leaves_its_parent_untouched(own: Desk) -> None:
    dialogue, calls = rejected(own)
    step = blamed_step(calls)
    file, paid, funnel_before = edited_modality(own, step), own.count("calls"), funnel(own)
    command = ("trace", "fork", "run", dialogue.id, "--step", str(step.position), "--prompt", file)
    asked = own.psyllm(*command)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "nobody is there to agree to the cost\n  -> add --yes" in asked.stderr
    assert f"{step.position} calls come from the journal" in " ".join(asked.stderr.split())
    assert own.count("calls") == paid
    fork = Dialogue.model_validate(
        printed(
            own.psyllm(
                "trace", "fork", "run", dialogue.id, "--step", str(step.position), "--prompt", file, "--yes", "--json"
            )
        )
    )
    assert (fork.forked_from, fork.post_id, fork.plan) == (dialogue.id, dialogue.post_id, dialogue.plan)
    with Run(own.folder / "run") as run:
        branch = tuple(run.calls(fork.id))
    assert [call.key for call in branch[: step.position]] == [call.key for call in calls[: step.position]]
    assert OTHER_PROMPT.strip() in branch[step.position].messages[0][1]
    assert own.count("calls") == paid + len(branch) - step.position
    assert rejected(own) == (dialogue, calls)
    found = printed(own.psyllm("trace", "diff", "run", dialogue.id, fork.id, "--only", "different", "--json"))
    paths = [s["path"] for s in found["steps"] if s["a_step"] is not None]
    assert paths[0] == step.path
    listed = printed(own.psyllm("trace", "ls", "run", "--json"))
    assert [row["id"] for row in listed if row["forked_from"]] == [fork.id]
    assert funnel(own) == funnel_before
    again = own.psyllm(*command)
    assert (again.returncode, "exists already" in again.stderr) == (0, True)
    assert fork.id[:8] in again.stdout


def test_before_it_pays_a_fork_says_what_an_accepted_dialogue_takes_and_whether_the_edit_matters(own: Desk) -> None:
    dialogue, calls = rejected(own)
    step = blamed_step(calls)
    assert dialogue.plan is not None
    with Run(own.folder / "run") as run:
        accepted = [(len(tuple(run.calls(d.id))), len(d.turns)) for d in run.dialogues(Status.ACCEPTED)]
    a_round = sum(calls for calls, _ in accepted) / sum(rounds for _, rounds in accepted)
    more = round(a_round * len(dialogue.plan.rounds)) - step.position
    fork = ("trace", "fork", "run", dialogue.id, "--step", str(step.position))
    edited = " ".join(own.psyllm(*fork, "--prompt", edited_modality(own, step)).stderr.split())
    assert f"about {more} calls" in edited
    assert "with what was changed" in edited and "word for word" not in edited and "the edit changes none" not in edited
    name = next(prompt.partition("@")[0] for prompt in step.prompts if not prompt.startswith("therapist@"))
    same = own.psyllm(*fork, "--prompt", str(SHIPPED / "modalities" / f"{name}.md")).stderr
    assert re.search(rf"{name}@\S+ is word for word what the run has", same)
    planner = (SHIPPED / "roles" / "planner.md").read_text(encoding="utf-8")
    elsewhere = own.psyllm(*fork, "--prompt", own.write("planner.md", f"{planner}\n{OTHER_PROMPT}")).stderr
    assert f"no call from step {step.position} on was made with planner" in elsewhere
    beside = own.psyllm("trace", "replay", *fork[2:], "--prompt", "planner.md").stderr
    assert "planner.md changes nothing of what this step is sent" in beside


def test_growing_on_after_a_fork_makes_the_same_dialogues(own: Desk) -> None:
    dialogue, calls = rejected(own)
    before = own.exported()
    done = own.psyllm("trace", "fork", "run", dialogue.id, "--step", str(blamed_step(calls).position), "--yes")
    assert done.returncode == 0, done.stderr
    for file in own.folder.glob("run-rows.*"):
        file.unlink()
    assert own.exported() == before
    grown = own.psyllm(*TWELVE)
    assert (grown.returncode, "all 12 posts were done before" in grown.stderr) == (0, True)


def test_an_edited_reply_is_what_the_fork_goes_on_from(own: Desk) -> None:
    dialogue, calls = rejected(own)
    step = blamed_step(calls)
    words = "You counted. What were you counting towards?"
    script = own.write(
        "edit.py",
        f"import sys, re\np = sys.argv[1]\nt = open(p).read()\nassert 'technique:' in t\n"
        f"t = t[:t.index('text:')] + 'text: {words}\\n'\nopen(p, 'w').write(t)\n",
    )
    fork = ("trace", "fork", "run", dialogue.id, "--step", str(step.position), "--edit", "--yes", "--json")
    branch = Dialogue.model_validate(printed(own.psyllm(*fork, env={"EDITOR": f"python3 {own.folder / script}"})))
    reply = branch.turns[step.round - 1].reply
    said = [*(draft.reply.text for draft in branch.turns[step.round - 1].drafts), reply.text if reply else ""]
    assert words in said
    with Run(own.folder / "run") as run:
        edited = tuple(run.calls(branch.id))[step.position]
    assert (edited.model_name, edited.cost_usd, words in edited.reply) == ("edited", 0.0, True)
    refused(own.psyllm(*fork, env={"EDITOR": "true"}), "not changed")
    broken = own.write("broken.py", "import sys\nopen(sys.argv[1], 'w').write('technique: reiki')\n")
    refused(own.psyllm(*fork, env={"EDITOR": f"python3 {own.folder / broken}"}), "does not fit its schema")


def test_what_cannot_be_replayed_or_forked_is_named(own: Desk) -> None:
    dialogue, _ = rejected(own)
    refused(own.psyllm("trace", "replay", "run", dialogue.id, "--step", "99"), "no step 99", "steps are 0 to")
    bad = own.write("cbt.md", "---\nid: cbt\n---\n# Therapist\nx\n")
    refused(own.psyllm("trace", "replay", "run", dialogue.id, "--step", "1", "--prompt", bad), "cbt.md:", "section")
    strange = own.write("reiki.md", "---\nid: reiki\n---\n")
    refused(
        own.psyllm("trace", "fork", "run", dialogue.id, "--step", "1", "--prompt", strange), "no prompt 'reiki'", "act"
    )
    refused(own.psyllm("trace", "fork", "run", dialogue.id, "--step", "1", "--models", "none"), "'none'")


def test_a_run_that_is_growing_is_left_alone(own: Desk) -> None:
    dialogue, _ = rejected(own)
    with Run(own.folder / "run") as run:
        facts = run.fingerprint
    growing = Journal.open(own.folder / "run", facts, "0")
    done = own.psyllm("trace", "replay", "run", dialogue.id, "--step", "0")
    growing.close()
    refused(done, "another process is growing", "Ctrl-C loses nothing", code=1)


# ---------------------------------------------------------------- handing on


def test_a_page_is_whole_needs_nothing_and_links_quotes_to_sentences(traced: Desk) -> None:
    dialogue, calls = rejected(traced)
    page = traced.folder / "page.html"
    page.unlink(missing_ok=True)
    done = traced.psyllm("trace", "export", "run", dialogue.id, "--html", "page.html")
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|<img|<iframe|src=|url\(|@import|javascript:|\son\w+=", text)
    assert set(re.findall(r'href="([^"]*)"', text)) <= {f"#{anchor}" for anchor in re.findall(r'id="([^"]*)"', text)}
    assert "default-src 'none'" in text
    quoted = re.search(r'<a class="mark quote" id="([^"]+)" href="#([^"]+)">', text)
    assert quoted and f'href="#{quoted[1]}"' in text and f'id="{quoted[2]}"' in text
    assert "stand-in words" in text and "no crisis service" in text
    for call in calls:
        assert f"<b>{call.position}</b> {call.node}" in text
    refused(traced.psyllm("trace", "export", "run", dialogue.id, "--html", "page.html"), "page.html exists")


def test_words_of_others_stay_words_on_a_page(desk: Desk) -> None:
    hostile_run(desk.folder / "run")
    done = desk.psyllm("trace", "export", "run", "d1", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    text = (desk.folder / "page.html").read_text(encoding="utf-8")
    assert HOSTILE.split("\x1b")[0].strip() in text
    assert not set(text) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160)]))


XSS = "</p><script>alert(1)</script><img src=x onerror=alert(2)> \"' {{ 7*7 }}"


def test_markup_in_a_post_is_shown_as_text(desk: Desk) -> None:
    desk.write(
        "evil.jsonl",
        json.dumps({"id": XSS, "text": f"{XSS} I lie awake most nights and at work I cry in the car park."}),
    )
    done = desk.psyllm("grow", "evil.jsonl", "--run", "run")
    assert done.returncode == 0, done.stderr
    done = desk.psyllm("trace", "export", "run", XSS[:6], "--html", "page.html")
    assert done.returncode == 0, done.stderr
    text = (desk.folder / "page.html").read_text(encoding="utf-8")
    assert "<script" not in text and "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7*7 }}" in text


class Collector:
    """A collector: takes OTLP over HTTP and keeps the spans."""

    def __init__(self) -> None:
        spans = self.spans = list[Any]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                request = ExportTraceServiceRequest.FromString(body)
                spans.extend(s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def test_a_collector_gets_the_same_tree_and_no_words_unless_asked(traced: Desk, collector: Collector) -> None:
    dialogue, calls = rejected(traced)
    done = traced.psyllm("trace", "otel", "run", dialogue.id, "--endpoint", collector.url)
    assert done.returncode == 0, done.stderr
    spans = collector.spans
    chats = [span for span in spans if span.name.startswith("chat ")]
    (root,) = [span for span in spans if not span.parent_span_id]
    ids = {span.span_id for span in spans}
    assert len(chats) == len(calls)
    assert all(span.parent_span_id in ids for span in spans if span is not root)
    assert {span.trace_id for span in spans} == {root.trace_id}
    facts = {a.key: a.value for a in chats[2].attributes}
    assert facts["gen_ai.operation.name"].string_value == "chat"
    assert facts["gen_ai.request.model"].string_value == calls[2].model
    assert facts["gen_ai.usage.input_tokens"].int_value == calls[2].prompt_tokens
    assert facts["gen_ai.conversation.id"].string_value == dialogue.id
    assert chats[2].start_time_unix_nano == int(1e9 * calls[2].started)
    sent = b"".join(span.SerializeToString() for span in spans).decode("utf-8", "replace")
    words = json.dumps(dialogue.turns[0].client[0].text, ensure_ascii=False)[1:-1]
    assert words not in sent
    before, spans[:] = list(spans), []
    done = traced.psyllm("trace", "otel", "run", dialogue.id, "--endpoint", collector.url, "--content")
    assert done.returncode == 0, done.stderr
    assert any(words in a.value.string_value for span in spans for a in span.attributes)
    assert [span.span_id for span in spans] == [span.span_id for span in before]


def test_a_collector_that_is_not_there(traced: Desk) -> None:
    done = traced.psyllm("trace", "otel", "run", rejected(traced)[0].id, "--endpoint", "http://127.0.0.1:9")
    refused(done, "http://127.0.0.1:9 did not take the traces", "--endpoint", code=1)
