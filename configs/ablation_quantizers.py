"""Ablation of the quantizer on handwritten digits: 4 quantizers, 3 bit widths, 5 seeds.

Sweep:    fedjax-diffusion sweep --config=configs/ablation_quantizers.py
Run:      fedjax-diffusion run --config=configs/ablation_quantizers.py
          (one point only: on demand with seed 0)
Takes:    60 runs of 40 rounds; each quantizer is a program; not measured as a whole yet
Try out:  fedjax-diffusion sweep --config=configs/ablation_quantizers.py:smoke
          (a tiny U-Net, 2 rounds, 4 points, 2 programs: 4 minutes on 2 cores beside a test suite,
          AMD EPYC, 2026-11-27, nearly all of it compilation; 1.1 MB on disk)
Expect:   of the variant "smoke", in index.csv: every point evaluated, the loss
          0.87; 0.043 MB uploaded at 2 bits, 0.149 MB at 8 bits
"""

from fedjax_diffusion import load_config


def get_config(variant: str = ""):
    """Returns the settings that are not swept, with a tiny model for the variant "smoke"."""
    if variant not in ("", "smoke"):
        raise ValueError(
            f"configs/ablation_quantizers.py has the one variant 'smoke', got {variant!r}"
        )
    return load_config("configs/ablation_bits.py" + (":smoke" if variant else ""))


def get_hyper(h, variant: str):
    """Returns the points: every quantizer with every bit width and every seed."""
    widths = (2, 8) if variant == "smoke" else (2, 4, 8)
    names = ("stochastic", "nearest", "qsgd", "rotated")
    return h.product(
        [
            h.sweep("seed", range(1 if variant == "smoke" else 5)),
            h.sweep("quantization.name", names[:2] if variant == "smoke" else names),
            h.sweep("allocator.method", [f"fixed_bits:{bits}" for bits in widths]),
        ]
    )
