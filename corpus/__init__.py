"""Posts on their way in, datasets on their way out.

In: `sources` reads rows of any kind of file, `posts` makes posts of them, `intake` takes one through all steps
(`screen`, `scrub` with `people` and `ages`; their words stand in hygiene.yaml and names.txt), `seen` knows it again,
`waiting` hands posts to a run one by one.
Out: `export` writes a dataset: `selection` and `splits` say of what, `rows` what a row holds, `tables` how it is kept,
`manifest` and `card` what it is. `check` validates one; `stats` puts corpora in figures with the help of `metrics`.
Both ways, `duplicates` says which texts are nearly the same.
"""
