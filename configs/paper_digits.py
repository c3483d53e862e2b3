"""The paper's comparison on handwritten digits: quality against joules against bytes, on a CPU.

Compare:  fedjax-diffusion compare --config=configs/paper_digits.py
Run:      fedjax-diffusion run --config=configs/paper_digits.py
          (the on-demand scheme alone)

Four devices 200 to 500 m from the base station. The paper's three schemes send weights: full
precision, 8 bits for all, and on demand. Beyond it, on demand sends updates at about 2 bits, their
codes compressed without loss, and with what was lost sent along next time.
"""

from fedjax_diffusion import load_config


def get_config():
    """Returns the on-demand scheme of the paper and what it is compared with."""
    config = load_config("configs/default.py")
    config.num_rounds = 240
    config.partition.num_clients = 4
    config.local_work.local_steps = 16
    config.federated.update(mode="model", ema_decay=0.98)
    config.devices.min_distance_meters = 200.0
    config.allocator.error_budget.as_fixed_bits = 7
    config.checkpoint.every_rounds = config.sampling.every_rounds = 60
    two_bits = "federated.mode=update, devices.min_bits=1, allocator.error_budget.as_fixed_bits=2"
    config.compare.schemes = (
        "full_precision: allocator.method=full_precision",
        "fixed_bits_8: allocator.method=fixed_bits:8",
        "on_demand: allocator.method=on_demand",
        f"beyond: {two_bits}, quantization.entropy_coding=true",
        f"beyond_feedback: {two_bits}, quantization.entropy_coding=true, "
        "quantization.error_feedback=true",
    )
    return config
