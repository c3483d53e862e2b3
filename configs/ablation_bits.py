"""Ablation of the bit width on handwritten digits with classes: 6 widths, of updates and models.

Sweep:    fedjax-diffusion sweep --config=configs/ablation_bits.py
Run:      fedjax-diffusion run --config=configs/ablation_bits.py
          (one point only: on demand with seed 0)
Takes:    48 points of updates: 4 minutes in 48 lanes of one NVIDIA H200, 2026-11-27, evaluation
          included; 18 points of models: 5.5 minutes beside five other sweeps, 2026-11-28
CIFAR-10: --config=configs/ablation_bits.py:cifar10 --config.data.data_dir=TFDS_FOLDER
          (4.24 M parameters, 8 points of 40 rounds: 0.31 s a round on one NVIDIA H200 with
          --config.compute.dtype=bfloat16, 2026-11-28)
Try out:  fedjax-diffusion sweep --config=configs/ablation_bits.py:smoke
          (a tiny U-Net, 2 rounds, 6 points: under 4 minutes on 2 busy CPU cores, AMD EPYC,
          2026-11-27, nearly all of it compilation; 3.3 MB on disk)
Results:  benchmarks/ablations.tar.xz; docs/ablation.md
Expect:   of the variant "smoke", in index.csv: every point evaluated, the loss between 0.82 and
          0.88; 0.043 MB uploaded at 2 bits, 0.149 MB at 8 bits, 0.565 MB at full precision

Updates have 8 seeds, which a claim needs; models, as in the paper, have 3: they show, and decide
nothing.
"""

from fedjax_diffusion import load_config

VARIANTS = ("", "smoke", "cifar10")


def get_config(variant: str = ""):
    """Returns the settings that are not swept: of digits, of a tiny model, or of CIFAR-10."""
    if variant not in VARIANTS:
        known = ", ".join(map(repr, VARIANTS[1:]))
        raise ValueError(f"configs/ablation_bits.py has the variants {known}; got {variant!r}")
    config = load_config("configs/cifar10.py" if variant == "cifar10" else "configs/default.py")
    config.devices.min_bits = 1  # or no client could send so few
    config.allocator.time_budget_seconds = 600.0  # enough for 32 bits: only the bits differ
    config.checkpoint.update(every_rounds=20, keep=1)
    config.sweep.reference = "mode-update+method-full-precision*"
    if variant == "smoke":
        config.num_rounds, config.diffusion.num_steps = 2, 20
        config.partition.num_clients, config.model.channels = 4, 8
        config.local_work.update(batch_size=8, local_steps=4)
        config.sampling.update(num_samples=16, num_steps=5)
        config.evaluation.num_samples = 200
        return config
    config.num_rounds, config.model.num_classes = 120, 10
    config.sampling.every_rounds = 120
    if variant == "cifar10":  # 4.24 M parameters, and few rounds
        config.num_rounds, config.cohort_size, config.partition.num_clients = 40, None, 5
        config.sampling.every_rounds = 40
        config.allocator.time_budget_seconds = 86_400.0
        config.model.update(channel_multipliers=(1, 1), num_res_blocks=1, attention_resolutions=())
        config.model.dropout = 0.0
        config.local_work.update(batch_size=32, local_steps=20)
        config.client_optimizer.learning_rate = 1e-3
    return config


def get_hyper(h, variant: str):
    """Returns the points: every bit width with every seed, of updates and of models."""
    widths = {"": (1, 2, 3, 4, 8), "smoke": (2, 8), "cifar10": (1, 2, 8)}[variant]
    methods = [*(f"fixed_bits:{bits}" for bits in widths), "full_precision"]

    def sweep(mode: str, num_seeds: int) -> list[dict]:
        axes = {"federated.mode": [mode], "allocator.method": methods, "seed": range(num_seeds)}
        return h.product([h.sweep(key, values) for key, values in axes.items()])

    return sweep("update", 2) if variant else h.chainit([sweep("update", 8), sweep("model", 3)])
