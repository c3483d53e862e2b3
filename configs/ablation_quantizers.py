"""Ablation of the quantizer on handwritten digits: 4 quantizers at 1 and 2 bits, 8 seeds.

Sweep:    fedjax-diffusion sweep --config=configs/ablation_quantizers.py
Run:      fedjax-diffusion run --config=configs/ablation_quantizers.py
          (one point only: on demand with seed 0)
Takes:    64 runs of 120 rounds; each quantizer is a program. 40 of them: 5.4 minutes in three
          processes beside three others on one NVIDIA H200, 2026-11-28; 24 are of ablation_bits
Results:  benchmarks/ablations.tar.xz; docs/ablation.md
Try out:  fedjax-diffusion sweep --config=configs/ablation_quantizers.py:smoke
          (a tiny U-Net, 2 rounds, 5 points, 2 programs: 4 minutes on 2 cores beside a test suite
          for 4 of them, AMD EPYC, 2026-11-27, nearly all of it compilation; 1.1 MB on disk)
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
    config = load_config("configs/ablation_bits.py" + (":smoke" if variant else ""))
    config.sweep.reference = "*method-full-precision*"
    return config


def get_hyper(h, variant: str):
    """Returns the points: every quantizer at its bit widths, and full precision, by seed."""
    is_smoke = variant == "smoke"
    if is_smoke:
        widths = {"stochastic": (2, 8), "nearest": (2, 8)}
    else:  # QSGD needs a bit for the sign
        widths = {"stochastic": (1, 2), "nearest": (1, 2), "qsgd": (2,), "rotated": (1, 2)}
    names = [name for name, bits in widths.items() for _ in bits]
    methods = [f"fixed_bits:{num_bits}" for bits in widths.values() for num_bits in bits]
    quantized = [h.sweep("quantization.name", names), h.sweep("allocator.method", methods)]
    reference = [
        h.fixed("quantization.name", "stochastic"),
        h.fixed("allocator.method", "full_precision"),
    ]
    points = h.chainit([h.zipit(quantized), h.zipit(reference)])
    return h.product([h.sweep("seed", range(1 if is_smoke else 8)), points])
