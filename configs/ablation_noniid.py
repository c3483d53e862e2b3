"""Ablation of uneven data on handwritten digits: iid and 3 Dirichlet divisions, 2 methods, 5 seeds.

Sweep:    fedjax-diffusion sweep --config=configs/ablation_noniid.py
Run:      fedjax-diffusion run --config=configs/ablation_noniid.py
          (one point only: on demand with seed 0)
Takes:    40 runs of 120 rounds; not measured as a whole yet
Try out:  fedjax-diffusion sweep --config=configs/ablation_noniid.py:smoke
          (a tiny U-Net, 2 rounds, 8 points: 2.5 minutes on 2 cores beside a test suite, AMD EPYC,
          2026-11-27, nearly all of it compilation; 2.0 MB on disk)
Expect:   of the variant "smoke", in index.csv: every point evaluated, the loss
          between 0.83 and 0.87; on demand 0.158 MB uploaded if iid, 0.147 to 0.162 MB at alpha 0.1
"""

from fedjax_diffusion import load_config


def get_config(variant: str = ""):
    """Returns the settings that are not swept, with a tiny model for the variant "smoke"."""
    if variant not in ("", "smoke"):
        raise ValueError(f"configs/ablation_noniid.py has the one variant 'smoke', got {variant!r}")
    config = load_config("configs/ablation_bits.py" + (":smoke" if variant else ""))
    config.sweep.reference = None  # each point is charged against its own baselines
    return config


def get_hyper(h, variant: str):
    """Returns the points: every division with every method and every seed."""
    alphas = (0.1,) if variant == "smoke" else (1.0, 0.3, 0.1)
    divisions = h.chainit(
        [
            h.fixed("partition.name", "iid"),
            h.product([h.fixed("partition.name", "dirichlet"), h.sweep("partition.alpha", alphas)]),
        ]
    )
    return h.product(
        [
            h.sweep("seed", range(2 if variant == "smoke" else 5)),
            divisions,
            h.sweep("allocator.method", ["on_demand", "full_precision"]),
        ]
    )
