"""Clinical knowledge as data, and deterministic checks on it: criteria of disorders (criteria/*.yaml), the facts
they ask for (facts.yaml), ladders of risk (risk.yaml) and crisis contacts (contacts.yaml). A claim passes the
gates (gates.py), the engine gives a verdict per disorder and system (engine.py over the three-valued rules of
logic.py), and risk is graded before and apart from diagnosis (risk.py). `Knowledge` is the one door to all of it.
Research data synthesis: this diagnoses nobody and is no crisis service.
"""

from clinical.knowledge import Knowledge

__all__ = ["Knowledge"]
