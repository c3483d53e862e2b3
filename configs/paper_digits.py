"""Comparison of the paper on handwritten digits: quality, joules and bytes, on a CPU.

Compare:  fedjax-diffusion compare --config=configs/paper_digits.py
Run:      fedjax-diffusion run --config=configs/paper_digits.py
          (only the on-demand method)
Takes:    four minutes per run on one core (AMD EPYC, 2026-11-26), 56 runs in all; seeds can be
          divided among machines, see docs/evaluation.md

Four devices 200 to 500 m from the base station train a class-conditional model. The paper's three
variants send weights: full precision, 8 bits for all, and on demand, within the error of 7 or of 8
bits for all. The variants "beyond" send updates on demand at about 2 bits, with their codes
compressed without loss and with error feedback; "beyond_reinvested" spends a part of the saving on
a tenth more rounds. 32 bits do not always arrive before the deadline; "full_precision_on_time" has
ten minutes, so that all clients participate and only quantization differs from it
(--config.compare.reference=full_precision_on_time).

The learning rate is constant, and the averaged model covers 33 rounds: quantized weights get noise
in every round, which only further training can correct.
"""

from fedjax_diffusion import load_config


def get_config():
    """Returns the on-demand method of the paper and the variants to compare."""
    config = load_config("configs/default.py")
    config.partition.num_clients = 4
    config.model.num_classes = 10
    config.local_work.local_steps = 16
    config.devices.min_distance_meters = 200.0
    config.allocator.error_budget.as_fixed_bits = 7
    config.federated.mode = "model"
    config.num_rounds, config.federated.ema_decay = 200, 0.97
    config.checkpoint.every_rounds = config.sampling.every_rounds = 50
    beyond = (
        "federated.mode=update, devices.min_bits=1, allocator.error_budget.as_fixed_bits=2, "
        "quantization.entropy_coding=true, quantization.error_feedback=true"
    )
    config.compare.variants = (
        "full_precision: allocator.method=full_precision",
        "fixed_bits_8: allocator.method=fixed_bits:8",
        "on_demand: allocator.method=on_demand",
        "on_demand_8: allocator.method=on_demand, allocator.error_budget.as_fixed_bits=8",
        f"beyond: {beyond}",
        f"beyond_reinvested: {beyond}, num_rounds=220",
        "full_precision_on_time: allocator.method=full_precision, "
        "allocator.time_budget_seconds=600",
    )
    config.compare.num_seeds = 8
    return config
