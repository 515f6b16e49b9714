"""Prompts are content: roles/*.md and modalities/*.md, and the loader that checks and renders them."""
