"""The machine that a simulation runs on: files, caches, processes, platforms, images."""
