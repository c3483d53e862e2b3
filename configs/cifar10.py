"""CIFAR-10 with the 35.7 M-parameter DDPM of Ho et al. (2020): 20 clients, 10 per daily round.

Run:      fedjax-diffusion run --config=configs/cifar10.py --config.data.data_dir=TFDS_FOLDER
Needs:    CIFAR-10 prepared for TFDS in TFDS_FOLDER, and a GPU or TPU. Not measured yet.
Try out:  fedjax-diffusion run --config=configs/cifar10.py:smoke --config.data.data_dir=TFDS_FOLDER
          (a tiny U-Net on 512 real images, 2 rounds: a minute on 2 CPU cores, loss near 1)
"""

from fedjax_diffusion import load_config


def get_config(variant: str = ""):
    """Returns the full run, or the tiny one for the variant "smoke"."""
    if variant not in ("", "smoke"):
        raise ValueError(f"configs/cifar10.py has the one variant 'smoke', got {variant!r}")
    config = load_config("configs/default.py")
    config.num_rounds, config.cohort_size, config.partition.num_clients = 300, 10, 20
    config.data.name, config.augmentation.random_flip = "cifar10", True
    config.diffusion.num_steps = 1000
    config.model.update(channels=128, channel_multipliers=(1, 2, 2, 2), num_res_blocks=2)
    config.model.update(attention_resolutions=(16,), dropout=0.1)
    config.local_work.update(batch_size=64, local_steps=100)
    config.client_optimizer.learning_rate = 2e-4
    config.federated.ema_decay = 0.9
    config.allocator.time_budget_seconds = 86_400.0
    config.study.update(image_shape=(32, 32, 3), num_examples=50_000)
    days = (0.75, 1.0, 1.5, 2.0, 4.0, 7.0, 14.0)
    config.study.time_budgets_seconds = tuple(86_400.0 * day for day in days)
    if variant == "smoke":
        config.num_rounds, config.data.split, config.diffusion.num_steps = 2, "train[:512]", 100
        config.model.update(channels=16, channel_multipliers=(1, 1), num_res_blocks=1)
        config.local_work.update(batch_size=8, local_steps=2)
        config.allocator.time_budget_seconds = 20.0
    return config
