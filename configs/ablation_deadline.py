"""Ablation of the round's deadline on handwritten digits: 4 deadlines, 3 methods, 5 seeds.

Sweep:    fedjax-diffusion sweep --config=configs/ablation_deadline.py
Run:      fedjax-diffusion run --config=configs/ablation_deadline.py
          (one point only: on demand with seed 0)
Takes:    60 runs of 120 rounds; not measured as a whole yet
Try out:  fedjax-diffusion sweep --config=configs/ablation_deadline.py:smoke
          (a tiny U-Net, 2 rounds, 8 points: 4.5 minutes on 2 cores beside a test suite, AMD EPYC,
          2026-11-27, nearly all of it compilation; 2.0 MB on disk)
Expect:   of the variant "smoke", in index.csv: every point evaluated; on demand
          0.158 MB and 3 % more joules at 20 s than at 600 s, at 6 bits 0.114 MB and 2 %
"""

from fedjax_diffusion import load_config


def get_config(variant: str = ""):
    """Returns the settings that are not swept, with a tiny model for the variant "smoke"."""
    if variant not in ("", "smoke"):
        raise ValueError(
            f"configs/ablation_deadline.py has the one variant 'smoke', got {variant!r}"
        )
    config = load_config("configs/ablation_bits.py" + (":smoke" if variant else ""))
    config.sweep.reference = None  # each point is charged against its own baselines
    return config


def get_hyper(h, variant: str):
    """Returns the points: every deadline with every method and every seed."""
    deadlines = (20.0, 600.0) if variant == "smoke" else (10.0, 20.0, 60.0, 600.0)
    methods = ["on_demand", "fixed_bits:6", "full_precision"]
    return h.product(
        [
            h.sweep("seed", range(2 if variant == "smoke" else 5)),
            h.sweep("allocator.time_budget_seconds", deadlines),
            h.sweep("allocator.method", methods[:2] if variant == "smoke" else methods),
        ]
    )
