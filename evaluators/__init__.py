"""Evaluators: rubrics, judges and metrics that score counselling on four dimensions. Nothing is here yet but its place."""
