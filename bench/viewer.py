"""How quick the viewer's pages are, and how much memory it takes: python bench/viewer.py --run /tmp/big

Serves a run with the real command and asks each page seven times. `bench/traces.py --run /tmp/big` makes one of 10,000
dialogues and 200,000 calls. The first answer of a page is told apart: caches of the machine are cold then.
"""

from __future__ import annotations

import argparse
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from psyllm.records import Status
from psyllm.runs import Run

PSYLLM = Path(sys.executable).parent / "psyllm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    folder = parser.parse_args().run
    with Run(folder) as run:
        a = next(run.dialogues(Status.ACCEPTED)).id
        b = next(run.dialogues(Status.REJECTED)).id
    command = [str(PSYLLM), "view", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as viewer:
        assert viewer.stdout is not None
        address = re.search(r"http://[\d.:]+", viewer.stdout.readline())
        assert address
        with httpx.Client(base_url=address[0], timeout=120) as client:
            while "are being indexed" in client.get("/search").text:
                time.sleep(0.5)
            Console().print(measured(client, a, b))
        status = Path(f"/proc/{viewer.pid}/status").read_text(encoding="utf-8")
        viewer.send_signal(signal.SIGINT)
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    assert peak
    Console().print(f"peak memory of the viewer: {int(peak[1]) / 1000:.0f} MB")


def measured(client: httpx.Client, a: str, b: str) -> Table:
    table = Table("page", "first, ms", "median, ms", "kB")
    for path in (
        "/",
        "/dialogues",
        "/dialogues?page=150",
        "/dialogues?status=rejected&role=therapist",
        "/dialogues?q=kitchen&model=model-a",
        "/search?q=the",
        "/search?q=rare77",
        f"/d/{a}",
        f"/d/{b}?status=rejected",
        f"/compare?a={a}&b={b}",
    ):
        took = []
        for _ in range(8):
            since = time.perf_counter()
            size = len(client.get(path).raise_for_status().content)
            took.append(1000 * (time.perf_counter() - since))
        name = re.sub(r"[0-9a-f]{16}", "ID", path)
        table.add_row(name, f"{took[0]:.0f}", f"{statistics.median(took[1:]):.0f}", f"{size / 1000:.0f}")
    return table


if __name__ == "__main__":
    main()
