"""Plain jitted training steps of one model: the lower limit for K clients x E steps.

    python -m benchmarks.engines.plain MODEL NUM_STEPS [CORE]

With CORE the process runs only on that core: one such process per core is the other limit.
"""

import functools
import os
import sys

from benchmarks.engines.models import CLIP_NORM, LEARNING_RATE, MODELS, NUM_DIFFUSION_STEPS, serve


def make_ingredients(name: str, num_clients: int, conv, **options):
    """Returns data, loss, batches, optimizer and initialization; options are the denoiser's."""
    import numpy as np
    import optax

    from benchmarks.engines.models import EXAMPLES_PER_CLIENT
    from fedjax_diffusion import (
        UNetConfig,
        ddpm_loss,
        make_client_data,
        make_denoiser,
        make_schedule,
    )
    from fedjax_diffusion.data import ImageDataset, draw_batch

    model = MODELS[name]
    rng = np.random.default_rng(0)
    num_examples = EXAMPLES_PER_CLIENT * min(num_clients, 64)  # more clients share them
    images = rng.integers(0, 256, (num_examples, *model.image_shape), dtype=np.uint8)
    dataset = ImageDataset(images, np.zeros(num_examples, np.int32), 10, "noise")
    parts = np.split(np.arange(num_examples), min(num_clients, 64))
    data = make_client_data(dataset, [parts[k % 64] for k in range(num_clients)])
    unet = UNetConfig(
        channels=model.channels,
        channel_multipliers=model.channel_multipliers,
        num_res_blocks=model.num_res_blocks,
        attention_resolutions=model.attention_resolutions,
    )
    denoiser = make_denoiser(unet, model.image_shape, conv=conv, **options)
    loss_fn = functools.partial(
        ddpm_loss, denoiser.apply, make_schedule("linear", NUM_DIFFUSION_STEPS)
    )
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE))
    return (
        data,
        loss_fn,
        functools.partial(draw_batch, batch_size=model.batch_size),
        optimizer,
        denoiser.init,
    )


def main(name: str, num_steps: str, core: str | None = None) -> None:
    """Times ``num_steps`` steps."""
    if core is not None:
        os.sched_setaffinity(0, {int(core)})
    import jax
    import jax.numpy as jnp
    import optax

    from fedjax_diffusion import seed_to_key

    data, loss_fn, batch_fn, optimizer, init = make_ingredients(name, 8, "stock")

    @jax.jit
    def step(params, opt_state, i):
        batch = batch_fn(seed_to_key(0), data, i % 8, i // 8)
        loss, grads = jax.value_and_grad(loss_fn)(params, batch, jax.random.key(i))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    def run() -> float:
        params = init(seed_to_key(0))
        opt_state, loss = optimizer.init(params), jnp.zeros(())
        for i in range(int(num_steps)):
            params, opt_state, loss = step(params, opt_state, jnp.int32(i))
        return float(loss)

    serve(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
