"""Trainer: the corpus handed to TRL. Nothing is here yet but its place; it will import torch only when it is used."""
