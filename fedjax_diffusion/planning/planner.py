"""Planning between two rounds: allocation problem, allocation and baselines."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedjax_diffusion.allocation import (
    Allocation,
    AllocationProblem,
    RoundFacts,
    Status,
    allocate,
)
from fedjax_diffusion.allocation.problem import uplink_bits
from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS
from fedjax_diffusion.edge import ChannelState, DeviceParams, path_loss_db
from fedjax_diffusion.federated import UploadStatistics
from fedjax_diffusion.planning.allocator_config import AllocatorConfig
from fedjax_diffusion.planning.baselines import Baseline, charge_baselines
from fedjax_diffusion.planning.dropping import allocate_dropping
from fedjax_diffusion.planning.error_forecast import predict_errors
from fedjax_diffusion.planning.participation import DrawConditions, RoundConditions
from fedjax_diffusion.planning.round_facts import list_facts
from fedjax_diffusion.planning.solver import DIRECT, Solver
from fedjax_diffusion.planning.workload import Workload
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.types import Key, Params


class InfeasibleFleetError(ValueError):
    """A fleet without any client that can participate in a round, even without fading."""


@dataclass(frozen=True)
class RoundPlan:
    """Plan of one round, before it is trained.

    Attributes:
      cohort: int32 [M], client ids.
      problem: the allocation problem, with its ``error_budget``.
      allocation: its solution; a client left out has its own status and zeros.
      predicted_error: squared error of the bits, summed, by the predicted ranges; None if unknown.
      uplink_bits: float64 [M], whole numbers, the planned uplink bits of each client.
      full_precision_bits: float64 [M], those of the same uploads at 32 bits per parameter.
      baseline_methods: the methods of the baselines.
      facts: of the round, for methods that see them.
      solver: answers the baselines' calls.
    """

    cohort: np.ndarray
    problem: AllocationProblem
    allocation: Allocation
    predicted_error: float | None
    uplink_bits: np.ndarray
    full_precision_bits: np.ndarray
    baseline_methods: tuple[str, ...]
    facts: RoundFacts | None = None
    solver: Solver = DIRECT

    @property
    def baselines(self) -> dict[str, Baseline]:
        """``Baseline`` by method, computed on first access so that training need not wait."""
        kept = vars(self)  # the lock of ``cached_property`` would stop the runs of other lanes
        if "_baselines" not in kept:
            kept["_baselines"] = charge_baselines(
                self.problem, self.allocation, self.baseline_methods, self.facts, self.solver
            )
        return kept["_baselines"]


class Planner(Protocol):
    """``plan(run_key, statistics, params=None, conditions=None, solver=DIRECT) -> RoundPlan``.

    ``params`` are the broadcast model, or a function that returns it; read in mode ``"model"``
    before the first upload.
    """

    def __call__(
        self,
        run_key: Key,
        statistics: UploadStatistics,
        params: Params | Callable[[], Params] | None = None,
        conditions: RoundConditions | None = None,
        solver: Solver = DIRECT,
    ) -> RoundPlan:
        """Plans round ``statistics.round``; ``conditions`` are its own, None to draw them."""
        ...


def make_planner(
    devices: DeviceParams,
    workload: Workload,
    config: AllocatorConfig,
    *,
    num_examples: np.ndarray,
    draw_conditions: DrawConditions,
    mode: str,
    quantization: QuantizationConfig | None = None,
) -> Planner:
    """Returns the planner of a run.

    Errors are those of ``predict_errors``. While they are unknown (before the first upload in mode
    ``update``, before the first update with a relative budget) the method's ``fallback`` decides.

    Args:
      devices: the fleet, [K].
      workload: cycles and payload of a round.
      config: method, deadline, error budget, baselines.
      num_examples: int [K], for the aggregation weights.
      draw_conditions: ``(run_key, round) -> RoundConditions``.
      mode: ``"model"`` or ``"update"``.
      quantization: None: the paper's quantizer, without options.

    Raises:
      ValueError: the method fixes bits that the quantizer does not have.
      InfeasibleFleetError: no client can participate without fading.
      InfeasibleRoundError: from the planner, under ``on_infeasible = "stop"``.
    """
    quantization = quantization or QuantizationConfig()
    devices = _settle_fleet(devices, workload, config, quantization.quantizer.min_bits)
    schedule = functools.partial(config.with_schedule, quantization.quantizer.min_bits)

    def plan(
        run_key: Key,
        statistics: UploadStatistics,
        params: Params | Callable[[], Params] | None = None,
        conditions: RoundConditions | None = None,
        solver: Solver = DIRECT,
    ) -> RoundPlan:
        cohort, channel = conditions or draw_conditions(run_key, int(statistics.round))
        predicted = predict_errors(statistics, params, mode, quantization)
        squared_norm = statistics.last_squared_norm
        is_unknown = predicted is None or (config.error_budget.relative and squared_norm is None)

        def make_problem(is_kept: np.ndarray) -> AllocationProblem:
            examples = np.where(is_kept, num_examples[cohort], 0.0)
            error = _weigh(None if predicted is None else predicted[cohort], examples, quantization)
            eps = np.inf if is_unknown else config.error_budget.to_eps(error, squared_norm)
            return _make_problem(devices, workload, channel, cohort, is_kept, error, eps, config)

        method = str(config.method_spec.fallback if is_unknown else config.method_spec)
        to_solve = functools.partial(schedule, int(statistics.round), num_examples[cohort])
        facts = list_facts(statistics, num_examples, predicted, cohort, bool(is_unknown))
        solved = allocate_dropping(make_problem, to_solve, method, facts, config, cohort, solver)
        plan = _to_plan(cohort, *solved, predicted is not None, config)
        return dataclasses.replace(plan, facts=facts, solver=solver)

    return plan


def _to_plan(
    cohort: np.ndarray,
    problem: AllocationProblem,
    allocation: Allocation,
    is_error_known: bool,
    config: AllocatorConfig,
) -> RoundPlan:
    bits = [allocation.num_bits, np.where(allocation.num_bits > 0, FULL_PRECISION_BITS, 0)]
    uplink, full = np.asarray(uplink_bits(problem, np.stack(bits)))
    error = float(allocation.error) if is_error_known else None
    return RoundPlan(cohort, problem, allocation, error, uplink, full, config.baselines)


def _weigh(
    errors: np.ndarray | None, examples: np.ndarray, quantization: QuantizationConfig
) -> np.ndarray:
    """Returns errors [M, 17] weighted as in the aggregate, by examples [M]; zeros for None."""
    if errors is None:
        return np.zeros((len(examples), len(BIT_WIDTHS)))
    return quantization.aggregation_factor(examples / max(examples.sum(), 1.0))[:, None] * errors


def _settle_fleet(
    devices: DeviceParams, workload: Workload, config: AllocatorConfig, min_bits: int
) -> DeviceParams:
    """Returns the fleet with the quantizer's least bits; raises as ``make_planner``."""
    _check_chosen_bits(config, min_bits)
    devices = _raise_bits(devices, min_bits)
    _check_anyone_can_participate(devices, workload, config, min_bits)
    return devices


def _check_chosen_bits(config: AllocatorConfig, min_bits: int) -> None:
    """Raises if the method fixes bits, or the schedule has some, that the quantizer lacks."""
    method = config.method_spec
    if method.num_bits is not None and method.num_bits < min_bits:
        raise ValueError(
            f"method {str(method)!r} sends fewer bits than quantization.name needs, {min_bits}"
        )
    config.check_schedule(min_bits)


def _raise_bits(devices: DeviceParams, min_bits: int) -> DeviceParams:
    """Returns the fleet with its bit limits raised to the quantizer's least bit width."""
    return dataclasses.replace(
        devices,
        min_bits=np.maximum(devices.min_bits, min_bits),
        max_bits=np.maximum(devices.max_bits, min_bits),
    )


def _check_anyone_can_participate(
    devices: DeviceParams, workload: Workload, config: AllocatorConfig, min_bits: int
) -> None:
    """Raises if no client of the fleet meets the deadline over its average channel."""
    clients = np.arange(len(devices.distance_meters))
    gain = 10 ** (-path_loss_db(devices.distance_meters) / 10)
    everybody, no_error = np.ones(len(clients), bool), np.zeros((len(clients), len(BIT_WIDTHS)))
    problem = _make_problem(
        devices, workload, ChannelState(gain), clients, everybody, no_error, np.inf, config
    )
    if config.is_scheduled:
        problem = problem.replace(min_bits=max(config.schedule.least_bits, min_bits))
    allocation = allocate(problem, str(config.method_spec.fallback))
    # A client that only lacks its share of the band can participate if others are left out.
    if not np.isin(allocation.status, (Status.OPTIMAL, Status.INFEASIBLE_BANDWIDTH)).any():
        reasons = "; ".join(allocation.explain(problem))
        raise InfeasibleFleetError(
            f"no client can participate in any round, even without fading: {reasons}"
        )


def _make_problem(
    devices: DeviceParams,
    workload: Workload,
    channel: ChannelState,
    cohort: np.ndarray,
    is_kept: np.ndarray,
    bit_width_error: np.ndarray,
    error_budget: float,
    config: AllocatorConfig,
) -> AllocationProblem:
    payload = workload.payload_bits
    return AllocationProblem(
        compute_cycles=workload.compute_cycles[cohort],
        effective_capacitance=devices.effective_capacitance[cohort],
        max_frequency_hz=devices.max_frequency_hz[cohort],
        channel_gain=channel.gain[cohort],
        bandwidth_hz=devices.bandwidth_hz[cohort],
        max_power_watts=devices.max_power_watts[cohort],
        noise_density_watts_per_hz=workload.noise_density_watts_per_hz,
        num_parameters=workload.num_parameters,
        overhead_bits=workload.overhead_bits,
        min_bits=devices.min_bits[cohort],
        max_bits=devices.max_bits[cohort],
        error_weight=bit_width_error[:, 0],
        error_budget=error_budget,
        time_budget_seconds=config.time_budget_seconds,
        bit_width_payload_bits=None if payload is None else np.tile(payload, (len(cohort), 1)),
        bit_width_error=bit_width_error,
        is_present=is_kept,
    )
