"""Evaluators: rubrics, judges and metrics that score counselling on four dimensions. Only its place so far."""
