"""Construction of all parts of a run from its config."""
