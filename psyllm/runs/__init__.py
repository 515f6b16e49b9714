"""Reading a run folder, and never changing what it holds.

run.py      Run: the journals of a folder as one; dialogues, calls, counts
index.py    Index: RUN/index.db, derived and disposable, which makes lists and full-text search quick
find.py     lists with filters, counts of reasons, search
steps.py    a dialogue's calls in the order of rounds, nodes and attempts
why.py      why a dialogue ended as it did, and what to do next
compare.py  two dialogues step by step
"""

from psyllm.runs.run import EDITED, Coverage, Run, Spend, StoredCall

__all__ = ["EDITED", "Coverage", "Run", "Spend", "StoredCall"]
