"""Checks an allocation against its problem with plain NumPy, trusting nothing of the solver."""
