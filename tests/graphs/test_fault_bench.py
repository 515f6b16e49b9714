"""bench/faults.py: what was planted is found again in log and journal; the second reader stops what gates let pass."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

BY = ("schema", "code", "second reader", "critic")
COLUMNS = ("fault", "planted", "caught", *BY, "repaired", "other code", "missed")


def test_the_table_accounts_for_every_planted_fault() -> None:
    command = [sys.executable, str(ROOT / "bench" / "faults.py"), "--seeds", "2", "--fault-rate", "0.4"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT)
    tables = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in ended.stdout.splitlines() if "|" in line]
    rows = {row[0]: dict(zip(COLUMNS[1:], (int(cell or 0) for cell in row[1:]), strict=True)) for row in tables[2:21]}
    assert tuple(tables[0]) == COLUMNS and len(rows) == 19
    for name, row in rows.items():
        assert row["caught"] == sum(row[by] for by in BY), name
        assert row["planted"] == row["caught"] + row["other code"] + row["missed"], name
        assert row["missed"] == (row["planted"] if name == "wrong_disagreement" else 0), name
    assert rows["evidence_overclaimed"]["second reader"] > 0 < rows["evidence_overclaimed"]["code"]
    assert rows["wrong_disagreement"]["planted"] > 0
