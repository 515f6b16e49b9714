"""Posts on their way in, datasets on their way out.

In: `posts` reads JSONL and CSV, `scrub` takes personal data out, `screen` says which posts no case can be planned from.
Out: `export` writes a dataset: `selection` and `splits` say of what, `rows` what a row holds, `tables` how it is kept,
`manifest` and `card` what it is. `check` validates one; `stats` puts corpora in figures with the help of `metrics`.
"""
