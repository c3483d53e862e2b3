"""Engines, each a process that benchmarks/engine.py starts, and their shared parts."""
