"""Equal split, an allocator method of your own. A plug-in, used by its name.

fedjax-diffusion run --workdir=runs/equal_split --config.allocator.method=equal_split
    --config.plugins="('examples/own_method.py',)" --config.num_rounds=5

Every client computes for half of the deadline and uploads for the other half, with the most bits
that it can send at full power. In the first two rounds it sends 4 bits, or the more it demands.
"""

import jax.numpy as jnp

from fedjax_diffusion import Decision, register_method


def equal_split(problem, facts):
    """Returns bits and compute times of every client."""
    half_seconds = problem.time_budget_seconds / 2
    noise_watts = problem.noise_density_watts_per_hz * problem.bandwidth_hz
    snr = problem.max_power_watts * problem.channel_gain / noise_watts
    sendable = half_seconds * problem.bandwidth_hz * jnp.log2(1 + snr)
    most = jnp.floor(sendable / problem.num_parameters).astype(int)
    most = jnp.where(most >= 32, 32, jnp.clip(most, 1, 16))
    num_bits = jnp.where(facts.round < 2, jnp.minimum(most, 4), most)
    return Decision(num_bits, jnp.full(problem.num_clients, half_seconds))


register_method("equal_split", equal_split, fallback=None)
