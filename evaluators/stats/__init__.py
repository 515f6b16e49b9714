"""Statistics of an evaluation: pure functions on data frames; the unit is always the client."""
