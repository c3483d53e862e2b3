"""Ablation of the number of clients on handwritten digits: 4 numbers, 2 methods, 5 seeds.

Sweep:    fedjax-diffusion sweep --config=configs/ablation_clients.py
Run:      fedjax-diffusion run --config=configs/ablation_clients.py
          (one point only: on demand with seed 0)
Takes:    40 runs of 120 rounds; each number of clients is a program; not measured as a whole yet
Try out:  fedjax-diffusion sweep --config=configs/ablation_clients.py:smoke
          (a tiny U-Net, 2 rounds, 8 points: under 3 minutes on 2 cores beside a test suite, AMD
          EPYC, 2026-11-27, nearly all of it compilation; 2.0 MB on disk)
Expect:   of the variant "smoke", in index.csv: every point evaluated; on demand
          0.075 MB uploaded with 2 clients and 0.158 MB with 4, at full precision 0.282 and 0.565
"""

from fedjax_diffusion import load_config


def get_config(variant: str = ""):
    """Returns the settings that are not swept, with a tiny model for the variant "smoke"."""
    if variant not in ("", "smoke"):
        raise ValueError(
            f"configs/ablation_clients.py has the one variant 'smoke', got {variant!r}"
        )
    config = load_config("configs/ablation_bits.py" + (":smoke" if variant else ""))
    config.sweep.reference = None  # each point is charged against its own baselines
    return config


def get_hyper(h, variant: str):
    """Returns the points: every number of clients with every method and every seed."""
    numbers = (2, 4) if variant == "smoke" else (4, 8, 16, 32)
    return h.product(
        [
            h.sweep("seed", range(2 if variant == "smoke" else 5)),
            h.sweep("partition.num_clients", numbers),
            h.sweep("allocator.method", ["on_demand", "full_precision"]),
        ]
    )
