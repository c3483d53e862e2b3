"""The smallest run that has everything: real digits, a tiny U-Net, three clients."""

from fedjax_diffusion import load_config

OVERRIDES = {
    "num_rounds": 4,
    "partition.num_clients": 3,
    "diffusion.num_steps": 10,
    "model.channels": 4,
    "model.channel_multipliers": (1,),
    "local_work.batch_size": 4,
    "local_work.local_steps": 2,
    "workload.cycles_per_example": 1e8,
    "allocator.baselines": ("full_precision", "fixed_bits:8:max_frequency"),
    "sampling.every_rounds": 4,
    "sampling.num_samples": 4,
    "sampling.num_steps": 2,
    "checkpoint.every_rounds": 2,
}
FLAGS = [f"--config.{key}={value}" for key, value in OVERRIDES.items()]


def tiny_config(**overrides):
    """Returns the tiny config; overrides by dotted key, dots written as two underscores."""
    changed = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config("configs/digits.py", OVERRIDES | changed)
