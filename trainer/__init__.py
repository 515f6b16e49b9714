"""The corpus handed to TRL.

`sources` reads corpora into turns, `rows` renders and tokenises them, `tree` lays a dialogue out so that it is told
once, `attention` keeps its branches apart, `sft` and `dpo` train, `checkpoints` and `card` look after what is written.
torch, transformers and trl are imported only by the modules that train, never by this one.
"""
