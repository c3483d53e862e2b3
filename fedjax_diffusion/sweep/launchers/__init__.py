"""Engines that start the workers of a sweep: this machine, Slurm, Ray."""
