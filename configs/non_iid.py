"""Effect of skewed data, more clients and longer local training on quality, as in Tun et al.

Compare:  fedjax-diffusion compare --config=configs/non_iid.py
Run:      fedjax-diffusion run --config=configs/non_iid.py
          (only ten clients with five local epochs)
Takes:    80 minutes for all 21 runs on 2 shared CPU cores (AMD EPYC, 2026-11-25)
Expect:   fcd 42; 106 and 23 with 1 and 10 local epochs; 81 and 95 with 30 and 50 clients

Federated averaging of whole models in full precision, 20 rounds with all clients on handwritten
digits. The first variant has 10 clients, Dirichlet(0.5) shares and 5 local epochs; each other
variant changes one of these. All clients are near and have ten minutes, so that all participate.

Reference: Tun et al., "Federated Learning with Diffusion Models for Privacy-Sensitive Vision
Tasks", doi 10.1109/ATC58710.2023.10318858; visualization.ipynb of its repository has the numbers:
FID of CIFAR-10 against the training set falls with local epochs (79.8, 21.4, 18.2 at 1, 5, 10) and
rises with the number of clients (21.4, 40.1, 48.7 at 10, 30, 50).
"""

from fedjax_diffusion import load_config


def get_config():
    """Returns ten clients with five local epochs, and the variants to compare."""
    config = load_config("configs/default.py")
    config.num_rounds = 20
    config.partition.update(num_clients=10, alpha=0.5)
    config.local_work.update(local_steps=None, local_epochs=5.0)
    config.federated.mode = "model"
    config.devices.max_distance_meters = 100.0
    config.allocator.update(method="full_precision", time_budget_seconds=600.0)
    config.sampling.every_rounds = config.checkpoint.every_rounds = 10
    config.evaluation.num_samples = 2000
    config.compare.update(num_seeds=3)
    config.compare.variants = (
        "epochs_5_clients_10: partition.num_clients=10",
        "epochs_1: local_work.local_epochs=1.0",
        "epochs_10: local_work.local_epochs=10.0",
        "clients_30: partition.num_clients=30",
        "clients_50: partition.num_clients=50",
        "alpha_0_1: partition.alpha=0.1",
        "alpha_5: partition.alpha=5.0",
    )
    return config
