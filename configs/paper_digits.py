"""The paper's comparison on handwritten digits: quality against joules against bytes, on a CPU.

Compare:  fedjax-diffusion compare --config=configs/paper_digits.py
Run:      fedjax-diffusion run --config=configs/paper_digits.py
          (the on-demand scheme alone)

Eight devices 200 to 500 m from the base station. The paper's three schemes send weights: full
precision, 8 bits for all, and on demand; then beyond it, updates at 2 bits and at 1 bit.
"""

from fedjax_diffusion import load_config


def get_config():
    """Returns the on-demand scheme of the paper and what it is compared with."""
    config = load_config("configs/default.py")
    config.num_rounds = 150
    config.devices.min_distance_meters = 200.0
    config.local_work.local_steps = 16
    config.federated.update(mode="model", ema_decay=0.95)
    config.allocator.error_budget.as_fixed_bits = 7
    config.compare.schemes = (
        "full_precision: allocator.method=full_precision, quantization.scheme=none",
        "fixed_bits_8: allocator.method=fixed_bits:8",
        "on_demand: allocator.method=on_demand",
        "updates_2_bits: federated.mode=update, allocator.method=fixed_bits:2",
    )
    return config
