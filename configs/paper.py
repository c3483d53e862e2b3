"""Comparison of the paper on CIFAR-10: 35.7 M DDPM; full precision, 8 bits for all, on demand.

Compare:  fedjax-diffusion compare --config=configs/paper.py --config.data.data_dir=TFDS_FOLDER
          (FID: --config.evaluation.inception_weights=pt_inception-2015-12-05-6726825d.pth)
Run:      fedjax-diffusion run --config=configs/paper.py --config.data.data_dir=TFDS_FOLDER
          (only the on-demand method)
Needs:    CIFAR-10 prepared for TFDS, FID's Inception weights (without them distances are fcd), and
          a GPU or TPU. Not trained to the end yet.

Clients send weights, as in the paper. The radio is that of configs/radio.py, where sending costs
most.
"""

from fedjax_diffusion import load_config


def get_config():
    """Returns the on-demand method of the paper and the variants to compare."""
    config = load_config("configs/radio.py")
    config.round_schedule = "cosine"
    config.federated.mode = "model"
    config.allocator.error_budget.as_fixed_bits = 7
    config.evaluation.num_samples = 10_000
    config.compare.num_seeds = 5
    return config
