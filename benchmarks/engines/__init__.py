"""Engines, each a process that benchmarks/engine.py starts, and the parts they share."""
