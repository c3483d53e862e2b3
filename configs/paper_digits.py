"""The paper's comparison on handwritten digits: quality against joules against bytes, on a CPU.

Compare:  fedjax-diffusion compare --config=configs/paper_digits.py
          fedjax-diffusion compare --config=configs/paper_digits.py:constant
Run:      fedjax-diffusion run --config=configs/paper_digits.py
          (the on-demand scheme alone)

Four devices 200 to 500 m from the base station. The paper's three schemes send weights: full
precision, 8 bits for all, and on demand. Beyond it, on demand sends updates at about 2 bits, their
codes compressed without loss, and with what was lost sent along next time.

The variant "constant" has no falling learning rate and a long average of the model instead: weights
that are quantized get noise in every round, which training can only repair while it goes on. It
plays the schemes that matter most.
"""

from fedjax_diffusion import load_config


def get_config(variant: str = ""):
    """Returns the on-demand scheme of the paper and what it is compared with."""
    if variant not in ("", "constant"):
        raise ValueError(f"configs/paper_digits.py has the one variant 'constant', got {variant!r}")
    config = load_config("configs/default.py")
    config.partition.num_clients = 4
    config.local_work.local_steps = 16
    config.devices.min_distance_meters = 200.0
    config.allocator.error_budget.as_fixed_bits = 7
    config.federated.mode = "model"
    config.num_rounds, config.round_schedule = 300, "cosine"
    config.client_optimizer.learning_rate, config.federated.ema_decay = 3e-3, 0.9
    config.checkpoint.every_rounds = config.sampling.every_rounds = 50
    two_bits = "federated.mode=update, devices.min_bits=1, allocator.error_budget.as_fixed_bits=2"
    schemes = {
        "full_precision": "allocator.method=full_precision",
        "fixed_bits_8": "allocator.method=fixed_bits:8",
        "on_demand": "allocator.method=on_demand",
        "beyond": f"{two_bits}, quantization.entropy_coding=true",
        "beyond_feedback": f"{two_bits}, quantization.entropy_coding=true, "
        "quantization.error_feedback=true",
    }
    if variant == "constant":
        config.num_rounds, config.round_schedule = 240, "constant"
        config.client_optimizer.learning_rate, config.federated.ema_decay = 2e-3, 0.98
        config.checkpoint.every_rounds = config.sampling.every_rounds = 60
        del schemes["fixed_bits_8"], schemes["beyond"]
    config.compare.schemes = tuple(f"{name}: {changes}" for name, changes in schemes.items())
    return config
