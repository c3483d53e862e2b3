"""A small fleet, its workload and its planner, for tests; nothing is trained here."""

import functools

import numpy as np

from fedjax_diffusion.allocation import AllocationProblem
from fedjax_diffusion.bits import UNIFORM_ERROR_CURVE
from fedjax_diffusion.edge import draw_channel, make_fleet
from fedjax_diffusion.federated import NOT_MEASURED, UploadStatistics
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.planning.allocator_config import AllocatorConfig
from fedjax_diffusion.planning.bit_schedule import BitSchedule
from fedjax_diffusion.planning.error_budget import ErrorBudget
from fedjax_diffusion.planning.participation import make_draw_conditions
from fedjax_diffusion.planning.planner import make_planner
from fedjax_diffusion.planning.workload import Workload

KEY = seed_to_key(0)
K = 6
SIZES = np.array([10, 20, 30, 40, 50, 60])
PARAMS = {"w": np.linspace(-1, 2, 12, dtype=np.float32).reshape(4, 3), "b": np.float32([0.0, 0.5])}
MEASURED = (0.5, 2.0, 1.0, 4.0, 3.0, 0.25)
FLEET = make_fleet(
    K,
    seed=0,
    fleet="mixed",
    min_distance_meters=50.0,
    max_distance_meters=300.0,
    bandwidth_hz=1e5,
)
WORKLOAD = Workload(
    compute_cycles=np.linspace(1e9, 3e9, K),
    num_parameters=50_000,
    overhead_bits=np.full(17, 512.0),
    noise_density_watts_per_hz=10**-20.4,
)
STEADY = functools.partial(draw_channel, shadowing_db=0.0, fading="none")
FADING = functools.partial(draw_channel, shadowing_db=3.0, fading="rayleigh")
SIX_BITS = ErrorBudget(as_fixed_bits=6)


def bit_width_error_of(measured):
    """Returns the error curves of V_k [K, 17]; below 0: not measured."""
    energies = np.array([-1.0] * K if measured is None else measured)[:, None]
    return np.where(energies < 0, NOT_MEASURED, energies * UNIFORM_ERROR_CURVE[:, 0])


def statistics_of(measured=None, update_squared_norm=NOT_MEASURED, round=3):
    return UploadStatistics(
        round=np.int32(round),
        bit_width_error=np.float32(bit_width_error_of(measured)),
        update_squared_norm=np.float32(update_squared_norm),
    )


def planner_of(
    method="on_demand", seconds=20.0, budget=SIX_BITS, devices=FLEET, draw_channel=STEADY, **options
):
    on_infeasible, baselines = options.pop("on_infeasible", "drop"), options.pop("baselines", ())
    schedule = options.pop("schedule", BitSchedule())
    return make_planner(
        devices,
        WORKLOAD,
        AllocatorConfig(method, seconds, budget, on_infeasible, baselines, schedule),
        num_examples=SIZES,
        draw_conditions=make_draw_conditions(
            devices, draw_channel, len(SIZES), options.pop("cohort_size", None)
        ),
        **({"mode": "update"} | options),
    )


def far_away(*clients):
    """Returns the fleet with some clients 100 km from the base station."""
    distance = FLEET.distance_meters.copy()
    distance[list(clients)] = 1e5
    return FLEET.replace(distance_meters=distance)


def problem_by_hand(clients, range_variance, error_budget, seconds=20.0):
    """Returns the allocation problem of these clients alone, written out."""
    gain = 10 ** (-(128.1 + 37.6 * np.log10(FLEET.distance_meters / 1000)) / 10)
    weight = SIZES[clients] / SIZES[clients].sum()
    return AllocationProblem(
        compute_cycles=WORKLOAD.compute_cycles[clients],
        effective_capacitance=1e-28,
        max_frequency_hz=FLEET.max_frequency_hz[clients],
        channel_gain=gain[clients],
        bandwidth_hz=1e5,
        max_power_watts=FLEET.max_power_watts[clients],
        noise_density_watts_per_hz=10**-20.4,
        num_parameters=50_000,
        overhead_bits=512.0,
        min_bits=FLEET.min_bits[clients],
        max_bits=FLEET.max_bits[clients],
        error_weight=weight**2 * np.asarray(range_variance)[clients],
        error_budget=error_budget,
        time_budget_seconds=seconds,
    )
