"""Example of an allocation problem, for the documentation and the command line."""

from fedjax_diffusion.allocation.problem import AllocationProblem


def example_problem() -> AllocationProblem:
    """Returns a problem of five clients; the farther a client, the more it computes.

    docs/allocator.md and ``allocate --help`` show it in full.

    >>> problem = example_problem()
    >>> problem.num_clients, float(problem.time_budget_seconds)
    (5, 6.0)
    """
    return AllocationProblem(
        compute_cycles=[1e9, 2e9, 3e9, 4e9, 5e9],
        effective_capacitance=1e-28,
        max_frequency_hz=2e9,
        channel_gain=[1e-11, 3e-12, 1e-12, 3e-13, 1e-13],
        bandwidth_hz=1e6,
        max_power_watts=0.2,
        noise_density_watts_per_hz=4e-21,
        num_parameters=267_000,
        overhead_bits=512,
        min_bits=2,
        max_bits=16,
        error_weight=1.0,
        error_budget=2e-3,
        time_budget_seconds=6.0,
    )
