"""FedJAX with its for_each_client, jit backend, used as in its federated averaging.

    python -m benchmarks.engines.fedjax_steps MODEL NUM_CLIENTS NUM_STEPS

The U-Net, its loss and the optimizer are ours; client data sets, batches, the loop over clients
and the average are FedJAX's. Nothing is quantized.
"""

import functools
import sys

from benchmarks.engines.models import (
    CLIP_NORM,
    EXAMPLES_PER_CLIENT,
    LEARNING_RATE,
    MODELS,
    NUM_DIFFUSION_STEPS,
    serve,
)


def main(name: str, num_clients: str, num_steps: str) -> None:
    """Times rounds of ``num_steps`` local steps."""
    import fedjax
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from fedjax_diffusion.diffusion import UNetConfig, ddpm_loss, make_denoiser, make_schedule
    from fedjax_diffusion.types import Batch

    model = MODELS[name]
    unet = UNetConfig(channels=model.channels, channel_multipliers=(1, 1), num_res_blocks=1)
    denoiser = make_denoiser(unet, model.image_shape, conv="stock")
    schedule = make_schedule("linear", NUM_DIFFUSION_STEPS)
    loss_fn = functools.partial(ddpm_loss, denoiser.apply, schedule)
    optimizer = fedjax.optimizers.create_optimizer_from_optax(
        optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE))
    )

    def loss_of(params, batch, key):
        images = batch["x"].astype(jnp.float32) / 127.5 - 1
        return loss_fn(params, Batch(images, jnp.zeros(len(images), jnp.int32)), key)

    # client_init, client_step and client_final of fedjax/algorithms/fed_avg.py, which has no loss
    def client_init(server_params, key):
        return {"params": server_params, "opt_state": optimizer.init(server_params), "rng": key}

    def client_step(state, batch):
        rng, use_rng = jax.random.split(state["rng"])
        loss, grads = jax.value_and_grad(loss_of)(state["params"], batch, use_rng)
        opt_state, params = optimizer.apply(grads, state["opt_state"], state["params"])
        return {"params": params, "opt_state": opt_state, "rng": rng}, loss

    def client_final(server_params, state):
        return jax.tree.map(jnp.subtract, server_params, state["params"])

    fedjax.set_for_each_client_backend("jit")
    train = fedjax.for_each_client(client_init, client_step, client_final, True)
    rng = np.random.default_rng(0)
    shape = (EXAMPLES_PER_CLIENT, *model.image_shape)
    datasets = [
        fedjax.ClientDataset({"x": rng.integers(0, 256, shape, dtype=np.uint8)})
        for _ in range(min(int(num_clients), 64))
    ]
    options = {"batch_size": model.batch_size, "num_steps": int(num_steps), "num_epochs": None}
    params = denoiser.init(jax.random.key(0))

    def run() -> float:
        keys = jax.random.split(jax.random.key(1), int(num_clients))
        clients = [
            (i, datasets[i % 64].shuffle_repeat_batch(seed=i, **options), keys[i])
            for i in range(int(num_clients))
        ]
        total, losses = fedjax.tree_util.tree_zeros_like(params), []
        for _, delta, step_losses in train(params, clients):
            weighted = fedjax.tree_util.tree_weight(delta, float(EXAMPLES_PER_CLIENT))
            total = fedjax.tree_util.tree_add(total, weighted)
            losses.append(step_losses[-1])
        weight = float(EXAMPLES_PER_CLIENT * int(num_clients))
        jax.block_until_ready(fedjax.tree_util.tree_inverse_weight(total, weight))
        return float(jnp.stack(losses).mean())

    serve(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
