"""Limits of float32 that quantizers respect."""

import jax.numpy as jnp

SMALLEST_NORMAL = float(jnp.finfo(jnp.float32).tiny)
"""2^-126. CPUs flush smaller numbers to zero, so no grid has a smaller step."""
MAX_EXPONENT = 126
"""The largest exponent for which a power of two and its inverse are normal float32 numbers."""
