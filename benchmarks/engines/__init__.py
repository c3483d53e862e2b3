"""One file per engine that benchmarks/engine.py compares; each is a process of its own."""
