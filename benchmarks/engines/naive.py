"""The code of a typical notebook: vmap over clients of a scan over steps, stock convolutions.

    python -m benchmarks.engines.naive MODEL NUM_CLIENTS NUM_STEPS

Plain JAX around our U-Net, data and optimizer; the clients' parameters are averaged, nothing is
quantized.
"""

import sys

from benchmarks.engines.models import serve
from benchmarks.engines.plain import make_ingredients


def main(name: str, num_clients: str, num_steps: str) -> None:
    """Times rounds of ``num_steps`` local steps."""
    import jax
    import jax.numpy as jnp
    import optax

    from fedjax_diffusion import seed_to_key

    data, loss_fn, batch_fn, optimizer, init = make_ingredients(name, int(num_clients), "stock")

    def train(params, row):
        def step(carry, i):
            params, opt_state = carry
            key = seed_to_key(0)
            batch = batch_fn(key, data, row, i)
            # The two numbers replace a key of this client and step; the benchmark needs no more.
            noise = jax.random.key(row * int(num_steps) + i)
            loss, grads = jax.value_and_grad(loss_fn)(params, batch, noise)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss

        steps = jnp.arange(int(num_steps), dtype=jnp.int32)
        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), steps)
        return params, losses[-1]

    @jax.jit
    def round_of(params):
        rows = jnp.arange(int(num_clients), dtype=jnp.int32)
        trained, losses = jax.vmap(train, in_axes=(None, 0))(params, rows)
        return jax.tree.map(lambda leaf: leaf.mean(0), trained), losses.mean()

    params = init(seed_to_key(0))

    def run() -> float:
        _, loss = jax.block_until_ready(round_of(params))
        return float(loss)

    serve(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
