"""One file per opponent of benchmarks/engine.py; each runs in an environment of its own."""
