"""Trainer: the corpus handed to TRL. Only its place so far."""
