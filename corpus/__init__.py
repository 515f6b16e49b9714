"""Posts on their way in, datasets on their way out.

`posts` reads JSONL and CSV, `scrub` takes personal data out, `screen` says which posts no case can be planned from.
"""
