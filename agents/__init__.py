"""One file a role: what it is told and what it must answer. `cast` is the table they sit around."""
