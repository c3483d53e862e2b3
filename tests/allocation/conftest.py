"""Random allocation problems in the regimes that the package is for."""

import numpy as np
import pytest

from fedjax_diffusion.allocation import AllocationProblem
from fedjax_diffusion.edge import path_loss_db

collect_ignore = ["convex.py"]  # CVXPY takes seconds to import: in the test that needs it
NOISE_WATTS_PER_HZ = 10**-20.4  # -174 dBm/Hz
MAX_POWER_WATTS = 0.2  # 23 dBm


@pytest.fixture(scope="session")
def make_problem():
    """Returns ``make_problem(num_clients, seed, large=False, **fields)``."""

    def make(num_clients, seed, large=False, **fields):
        generator = np.random.default_rng([seed, num_clients])
        loss_db = path_loss_db(generator.uniform(50.0, 500.0, num_clients))
        fading = np.maximum(generator.exponential(size=num_clients), 0.1)
        weight = generator.lognormal(0.0, 1.0, num_clients)
        usual = {
            "compute_cycles": generator.uniform(1e9, 8e9, num_clients) * (5 if large else 1),
            "effective_capacitance": 1e-28,
            "max_frequency_hz": generator.uniform(1e9, 2.5e9, num_clients),
            "channel_gain": 10 ** (-loss_db / 10) * fading,
            "bandwidth_hz": generator.uniform(1e6, 20e6, num_clients),
            "max_power_watts": MAX_POWER_WATTS,
            "noise_density_watts_per_hz": NOISE_WATTS_PER_HZ,
            "num_parameters": 35_700_000 if large else 267_000,
            "overhead_bits": 4096,
            "min_bits": generator.choice([1, 2, 4, 6], num_clients),
            "max_bits": generator.choice([8, 10, 12, 16], num_clients),
            "error_weight": weight,
            "error_budget": weight.sum() / (2.0 ** generator.uniform(4, 9) - 1) ** 2,
            "time_budget_seconds": generator.uniform(60, 400)
            if large
            else generator.uniform(8, 20),
        }
        return AllocationProblem(**(usual | fields))

    return make
