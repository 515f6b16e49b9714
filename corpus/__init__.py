"""Posts on their way in, datasets on their way out.

Raw text to post: `sources` reads rows of any kind of file, `posts` makes posts of them, `intake` takes one through all
steps (`screen`, `scrub` with `people` and `ages`; their words stand in hygiene.yaml and names.txt), `duplicates`
compares them, `waiting` hands them to a run one by one. `export` writes chat rows.
"""
