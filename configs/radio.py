"""CIFAR-10's 35.7 M-parameter model with wide radio links and cheap training: sending costs most.

Study:    fedjax-diffusion study --config=configs/radio.py
Run:      fedjax-diffusion run --config=configs/radio.py --config.data.data_dir=TFDS_FOLDER
Takes:    the study takes a minute on 2 CPU cores; the run needs a GPU or TPU, not measured yet.

Each client has 1 MHz and a deadline of 10 minutes. Training is charged 2e4 cycles per example, an
assumption that makes it cheap for any model. Counting this model's FLOPs gives 57,000 to 455,000
times as many cycles; training then dominates, as in configs/cifar10.py.
"""

from fedjax_diffusion import load_config


def get_config():
    """Returns CIFAR-10's settings with wide sub-channels and cheap training."""
    config = load_config("configs/cifar10.py")
    config.devices.bandwidth_hz = 1e6
    config.workload.cycles_per_example = 2e4
    config.allocator.time_budget_seconds = 600.0
    config.study.time_budgets_seconds = (90, 120, 180, 300, 450, 600, 900, 1200, 2400)
    return config
