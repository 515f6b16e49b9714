"""`psyllm trace tail`: a run as it grows, a line for every call and every finished dialogue."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from app.screen import COLOURS, dollars, out, tokens
from psyllm.runs import Run

POLL_S = 0.5


def tail_command(folder: Path) -> None:
    """Print what is new until Ctrl-C; first, the last few dialogues. Raises UsageError if there is no run."""
    with Run(folder) as run:
        tails = [_Tail(database) for database in run.databases]
        before: tuple[tuple[int, int], ...] = ((0, 0),) * len(tails)
        try:
            while True:
                now = run.versions()
                for number, tail in enumerate(tails):
                    if now[number] != before[number]:
                        for line in tail.news(run.databases[number]):
                            out.print(line, soft_wrap=True)
                before = now
                out.file.flush()
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            return


class _Tail:
    """What is new in one journal."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._call: int = database.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()[0]
        rows = database.execute("SELECT id, ended FROM dialogues ORDER BY ended DESC").fetchall()
        self._ended: dict[str, float] = dict(rows[10:])

    def news(self, database: sqlite3.Connection) -> Iterator[Text]:
        """Lines for what came since the last time."""
        self._db = database
        lines = [*self._calls(), *self._dialogues()]
        for _, line in sorted(lines, key=lambda line: line[0]):
            yield line

    def _calls(self) -> Iterator[tuple[float, Text]]:
        rows = self._db.execute(
            "SELECT c.id, c.started + c.seconds, s.dialogue_id, c.post_id, c.path, c.role, c.model, c.prompt_tokens,"
            " c.completion_tokens, c.seconds, c.cost_usd, c.retries != '[]', c.error FROM calls c"
            " LEFT JOIN steps s ON s.call_id = c.id WHERE c.id > ? ORDER BY c.id",
            (self._call,),
        ).fetchall()
        for number, when, dialogue, post, path, role, model, sent, got, seconds, cost, retried, error in rows:
            self._call = number
            line = Text.assemble((f"{_clock(when)}  {(dialogue or post)[:8]:<8}  ", "dim"), (f"{role:<13} ", "magenta"))
            line.append(f"{path:<16} {model}  {tokens(sent)} in, {tokens(got)} out  {seconds:.2f} s  {dollars(cost)}")
            line.append("  retried" if retried else "", style="yellow")
            line.append(f"  {error}" if error else "", style="red")
            yield when, line

    def _dialogues(self) -> Iterator[tuple[float, Text]]:
        for name, ended in self._db.execute("SELECT id, ended FROM dialogues").fetchall():
            if self._ended.get(name) != ended:
                self._ended[name] = ended
                post, status, modality, rounds, forked_from, codes = self._db.execute(
                    "SELECT post_id, status, modality, rounds, forked_from,"
                    " (SELECT group_concat(DISTINCT code) FROM reasons WHERE dialogue_id = id)"
                    " FROM dialogues WHERE id = ?",
                    (name,),
                ).fetchone()
                line = Text.assemble((f"{_clock(ended)}  ", "dim"), (f"{name[:8]:<8}  ", "bold"))
                line.append(f"{status.replace('_', ' '):<13} ", style=f"bold {COLOURS[status]}")
                line.append(f"post {post}  {modality}  {rounds} rounds")
                line.append(f"  fork of {forked_from[:8]}" if forked_from else "")
                line.append(f"  {codes.replace(',', ', ')}" if codes else "", style=COLOURS[status])
                yield ended, line


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))
