"""One growing run, ended 100 times at random by SIGKILL, SIGTERM or SIGINT: python bench/soak.py --kills 100

Grows the example posts, several times over under other ids, on one rehearsal server: once undisturbed, and once with
a signal at a random moment, followed by the same command, until so many signals have been sent. Then compares the two
runs: dialogues, calls and steps must be the same, the database sound, and what was paid twice no more than what was in
flight at the kills. Exit 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from psyllm.journal import DATABASE, connect
from psyllm.rehearsal import RehearsalProcess
from psyllm.runs import Run

ROOT = Path(__file__).resolve().parent.parent
PSYLLM = Path(sys.executable).parent / "psyllm"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STOPPED = 130
IN_FLIGHT = 6


class Soak:
    def __init__(self, folder: Path, server: RehearsalProcess, log: Path, copies: int, seed: int) -> None:
        self.folder = folder
        self.log = log
        self._read = self._requests = 0
        self.lots = random.Random(seed)  # noqa: S311 (no secret)
        posts = [json.loads(line) for line in (ROOT / "examples" / "posts.jsonl").read_text("utf-8").splitlines()]
        lines = (json.dumps(post | {"id": f"{post['id']}-{n}"}) + "\n" for n in range(copies) for post in posts)
        (folder / "posts.jsonl").write_text("".join(lines), encoding="utf-8")
        (folder / "psyllm.toml").write_text(
            f'profile = "m"\n[models.m]\nbase_url = "{server.base_url}"\nmodel = "rehearsal"\nsampling = {{}}\n'
            f'concurrency = {IN_FLIGHT}\n[profiles.m]\ndefault = "m"\n',
            encoding="utf-8",
        )

    def start(self, run: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [PSYLLM, "grow", "posts.jsonl", "--run", run],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def requests(self) -> int:
        """How many requests have come in so far, in all."""
        with self.log.open("rb") as lines:
            lines.seek(self._read)
            for line in lines:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    self._requests += b'"event": "in"' in line
        return self._requests

    def disturbed(self, process: subprocess.Popen[bytes]) -> signal.Signals | None:
        """The signal that ended this start after some requests; None if the run was over before."""
        until = self.requests() + self.lots.randint(0, 40)
        number = self.lots.choice(SIGNALS)
        while self.requests() <= until:
            if process.poll() is not None:
                return None
            time.sleep(0.005)
        time.sleep(self.lots.random() * 0.05)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
        expected = -number if number is signal.SIGKILL else STOPPED
        if process.returncode not in (expected, 0) or b"Traceback" in stderr:
            raise SystemExit(f"after {number.name} the run ended with {process.returncode}: {stderr.decode()}")
        return number if process.returncode else None

    def finish(self, run: str) -> None:
        process = self.start(run)
        _, stderr = process.communicate()
        if process.returncode:
            raise SystemExit(f"{run} ended with {process.returncode}: {stderr.decode()}")


def rows(run: Path, query: str) -> list[tuple[object, ...]]:
    with closing(connect(run / DATABASE, read_only=True)) as db:
        return db.execute(query).fetchall()


COMPARED = {
    "calls": "SELECT hex(key), path, role, finish_reason, prompt_tokens, completion_tokens FROM calls ORDER BY 1",
    "steps": "SELECT s.dialogue_id, s.position, hex(c.key) FROM steps s JOIN calls c ON c.id = s.call_id ORDER BY 1, 2",
    "dialogues": "SELECT id, post_id, status, modality, severity, mode, rounds FROM dialogues ORDER BY id",
    "reasons": "SELECT * FROM reasons ORDER BY 1, 2",
}


def differences(one: Path, other: Path) -> list[str]:
    """What of the other run is not as in the one."""
    found = [name for name, query in COMPARED.items() if rows(one, query) != rows(other, query)]
    with Run(one) as a, Run(other) as b:
        found += ["records"] if list(a.dialogues()) != list(b.dialogues()) else []
    with closing(sqlite3.connect(other / DATABASE)) as db:
        said = db.execute("PRAGMA integrity_check").fetchone()[0]
    return found + ([] if said == "ok" else [f"integrity: {said}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=60, help="send no more signals after this")
    parser.add_argument("--copies", type=int, default=6, help="how often the 26 example posts are grown")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        log = folder / "server.jsonl"
        with RehearsalProcess(latency_ms=40, log=log) as server:
            soak = Soak(folder, server, log, given.copies, given.seed)
            soak.finish("undisturbed")
            paid, sent, since = soak.requests(), Counter[str](), time.monotonic()
            while sent.total() < given.kills and time.monotonic() - since < 60 * given.minutes:
                number = soak.disturbed(soak.start("disturbed"))
                if number is None:
                    break
                sent[number.name] += 1
                if sent.total() % 10 == 0:
                    print(f"{sent.total()} signals, {soak.requests()} requests", file=sys.stderr)
            soak.finish("disturbed")
            repaid = soak.requests() - 2 * paid
        found = differences(folder / "undisturbed", folder / "disturbed")
        dialogues = rows(folder / "disturbed", "SELECT count(*) FROM dialogues")[0][0]
    told = ", ".join(f"{count} {name}" for name, count in sorted(sent.items()))
    print(f"{sent.total()} signals ({told}) on a run of {dialogues} dialogues and {paid} calls")
    print(
        f"paid twice: {repaid} calls, {repaid / max(1, sent['SIGKILL']):.1f} a SIGKILL, {IN_FLIGHT} in flight at each"
    )
    print(f"differences from the undisturbed run: {', '.join(found) or 'none'}")
    if sent.total() < given.kills:
        print(f"{given.kills - sent.total()} signals were not sent: the run or the time was over; give more --copies")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
