"""Where a call's CPU goes: python -m bench.where (with py-spy: pip install py-spy)

Grows dialogues on a rehearsal server in a process of its own, looks at its stacks two hundred times a second, and
counts each look at the event loop's thread for the first of the parts below that it is in; the journal's thread is
what that one did not take of the process's CPU. Imports are left out.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from app.seats import busy_loop
from bench.calls import graph
from psyllm.logs import configure
from psyllm.rehearsal import RehearsalProcess

PARTS: dict[str, tuple[str, ...]] = {
    "aiohttp: one request": ("Chat._post ",),
    "langchain-openai: payload and result": ("Chat._agenerate ",),
    "langchain-core: callbacks and messages": ("BaseChatModel.", "BaseMessage."),
    "answer schemas": ("create_model ", "model_json_schema ", "form_of "),
    "keys, parsing, records of a call": ("(psyllm/calls.py",),
    "clinical knowledge": ("(clinical/",),
    "checks in code": ("(agents/checks.py", "(agents/safety.py", "(agents/words.py"),
    "prompts: rendering": ("(prompts/",),
    "agents and graph nodes": ("(agents/", "(graphs/dialogue.py", "(graphs/grounding.py"),
    "LangGraph: supersteps, channels, tasks": ("(langgraph/", "(pregel/", "(_internal/"),
}
REST = "the event loop and the rest"
JOURNAL = "the journal's thread: compressing, SQLite"
COUNTED = "calls-and-cpu"


def counted(stacks: Iterable[str]) -> Counter[str]:
    """Looks per part, from py-spy's raw lines: frames from the outermost in, joined by ';', then how often."""
    looks = Counter[str]()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        if "importlib" in stack or "Runner.run" not in stack:
            continue
        part = next((part for part, marks in PARTS.items() if any(mark in stack for mark in marks)), REST)
        looks[part] += int(count)
    return looks


def main() -> None:
    configure()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=300)
    parser.add_argument("--latency-ms", type=float, default=50)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--grow", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.grow:
        url, folder = given.grow
        busy_loop()
        cpu, main_thread = time.process_time(), time.thread_time()
        calls = uvloop.run(graph(url, Path(folder), given.posts, given.slots))
        cpu, main_thread = time.process_time() - cpu, time.thread_time() - main_thread
        Path(folder, COUNTED).write_text(f"{calls} {main_thread} {cpu - main_thread}", encoding="ascii")
        return
    py_spy = shutil.which("py-spy", path=Path(sys.executable).parent) or shutil.which("py-spy")
    if py_spy is None:
        parser.error("py-spy is not installed: pip install py-spy")
    with (
        tempfile.TemporaryDirectory() as scratch,
        RehearsalProcess(latency_ms=given.latency_ms, slots=given.slots, fault_rate=0) as server,
    ):
        raw, run = Path(scratch) / "stacks.txt", Path(scratch) / "run"
        record = [py_spy, "record", "--nonblocking", "--rate", "200", "--format", "raw", "--output", str(raw), "--"]
        child = [sys.executable, "-m", "bench.where", "--grow", server.base_url, str(run)]
        child += ["--posts", str(given.posts), "--slots", str(given.slots)]
        subprocess.run([*record, *child], stdout=subprocess.DEVNULL, check=True)
        looks = counted(raw.read_text(encoding="utf-8").splitlines())
        calls, loop_s, journal_s = map(float, (run / COUNTED).read_text(encoding="ascii").split())
    cpu_s = loop_s + journal_s
    parts = {part: loop_s * count / looks.total() for part, count in looks.items()} | {JOURNAL: journal_s}
    table = Table("share", "ms/call", "what", title=f"{calls:.0f} calls, {1000 * cpu_s / calls:.2f} ms of CPU a call")
    for part, seconds in sorted(parts.items(), key=lambda part: -part[1]):
        table.add_row(f"{100 * seconds / cpu_s:.0f} %", f"{1000 * seconds / calls:.2f}", part)
    Console().print(table)


if __name__ == "__main__":
    main()
