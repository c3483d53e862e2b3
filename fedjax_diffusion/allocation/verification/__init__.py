"""Verification of an allocation against its problem in plain NumPy, independent of the solver."""
