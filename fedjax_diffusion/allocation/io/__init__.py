"""Allocation problems and allocations as files and tables."""
