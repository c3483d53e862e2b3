"""Limits of float32 that quantizers respect."""

import jax.numpy as jnp

SMALLEST_NORMAL = float(jnp.finfo(jnp.float32).tiny)
"""2^-126. CPUs flush smaller numbers to zero, so no grid has a smaller step."""
MAX_EXPONENT = 126
"""Of powers of two that float32 holds as normal numbers, as it does their inverses."""
