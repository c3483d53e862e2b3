"""The simulator: a state, and the round that turns it into the next state."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.core import Tracer

from fedjax_diffusion.federated import (
    ClientInputs,
    ClientMapping,
    GivenAveraging,
    GivenServer,
    GivenTraining,
    LocalWork,
    ServerUpdate,
    gather_inputs,
    settle,
)
from fedjax_diffusion.federated.program import Program, PureStep, make_program
from fedjax_diffusion.federated.simulation_state import RoundInfo, SimulationState
from fedjax_diffusion.keys import place_key
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.types import Array, Key, Params


class HasNumBits(Protocol):
    """Any object with the bits of each client of the cohort, such as an ``Allocation``."""

    @property
    def num_bits(self) -> Any:
        """Bits of each client, int [M]: 1..16 or 32; 0 for a client that does not participate."""


class Simulator(NamedTuple):
    """The functions of a simulator.

    Attributes:
      init: ``init(key, data) -> SimulationState``; of the data it reads only the length K of
        ``num_examples``. It can be vmapped over keys.
      step: ``step(key, state, allocation, cohort, data, rows=None, num_steps=None,
        update_factor=None) -> (SimulationState, RoundInfo)``; gathers the round's inputs on the
        host, see ``gather_inputs``, and calls the compiled ``pure_step``: one compilation serves
        all rounds, bits, channels, steps, keys and hyperparameters. ``key`` is the run's key in
        every call; the draws of a round depend on it and ``state.round``. ``cohort`` int32 [M]
        holds client ids, ``allocation.num_bits`` [M] their bits, ``rows`` int32 [M] their rows in
        the data (None: their ids), ``num_steps`` int [M] their local steps (None: from
        ``LocalTraining.work``), ``update_factor`` float [M] factors of their updates, as by faults
        (None: none). It returns before the devices have finished, and copies nothing to the host.
      pure_step: ``pure_step(key, state, inputs, data, hyperparameters=...) ->
        (SimulationState, RoundInfo)``, a pure function of arrays that is not compiled by itself:
        jit it, or vmap it over the S runs of a sweep. ``key`` [] is the run's key, ``inputs`` the
        cohort's ``ClientInputs`` [M]; their ``client_memory`` is ignored, the state's is used.
        ``hyperparameters`` are by default those of ``make_simulator``. Over S runs ``key`` is [S]
        and every array of ``state`` has a leading [S]; so do the ``inputs`` and
        ``hyperparameters`` in which the runs differ.
    """

    init: Callable[[Key, Any], SimulationState]
    step: Callable[..., tuple[SimulationState, RoundInfo]]
    pure_step: PureStep


def make_simulator(
    init_params: Callable[[Key], Params],
    training: GivenTraining,
    *,
    mapping: ClientMapping | None = None,
    server: GivenServer | None = None,
    mode: str = "update",
    quantization: QuantizationConfig | None = None,
    averaging: GivenAveraging | None = None,
    donate_state: bool = False,
    hyperparameters: Any = (),
) -> Simulator:
    """Builds a simulator for any model, loss and data; nothing here is specific to diffusion.

    Args:
      init_params: ``key -> params``.
      training: loss, batches, optimizer and amount of work of the clients; or a function of the
        hyperparameters that returns them.
      mapping: mapping of clients to the hardware; None: one after the other. The state is kept on
        all devices of its mesh. Under ``loop`` nothing is jitted.
      server: use of the mean update by the server, or a function of the hyperparameters; None:
        federated averaging.
      mode: ``"update"`` or ``"model"``, the quantized quantity.
      quantization: quantizer and options; None: stochastic quantization without options.
      averaging: of the updates, or a function of the hyperparameters; None: their weighted mean.
      donate_state: let ``step`` overwrite the given state with the next; do not use it afterwards.
      hyperparameters: any pytree of numbers, such as learning rates. They are inputs of the
        compiled round, not constants in it.

    Raises:
      ValueError: unknown ``mode``, or error feedback in another mode than ``"update"``. ``init``
        raises it for parameters that are no arrays of floats.

    Guarantees:
      32 bits, plain SGD and one local step are centralized SGD.
    """
    program = make_program(
        init_params,
        training,
        mapping=ClientMapping() if mapping is None else mapping,
        server=ServerUpdate() if server is None else server,
        mode=mode,
        quantization=QuantizationConfig() if quantization is None else quantization,
        averaging=averaging,
        donate_state=donate_state,
    )
    return bind(program, settle(training, hyperparameters).work, hyperparameters)


def bind(program: Program, work: LocalWork, hyperparameters: Any) -> Simulator:
    """Returns the simulator of a program with these hyperparameters.

    Args:
      program: may be shared with other simulators.
      work: local steps of a client in a step that is not given them.
      hyperparameters: of the structure that the program's settings expect.
    """
    placement = program.placement
    hyperparameters = jax.device_put(hyperparameters, placement)
    last_key: tuple[Key, Key] | None = None

    def place(key: Key) -> Key:
        """Returns the run's key on the devices, where it is put once."""
        nonlocal last_key
        if last_key is not None and last_key[0] is key:
            return last_key[1]
        placed = place_key(key, placement)
        if not isinstance(placed, Tracer):  # of a caller's program, which no later step may see
            last_key = key, placed
        return placed

    def init(key: Key, data: Any) -> SimulationState:
        return program.init(key, len(data.num_examples), hyperparameters)

    def step(
        key: Key,
        state: SimulationState,
        allocation: HasNumBits,
        cohort: Array,
        data: Any,
        rows: Array | None = None,
        num_steps: np.ndarray | None = None,
        update_factor: np.ndarray | None = None,
    ) -> tuple[SimulationState, RoundInfo]:
        inputs = gather_inputs(
            cohort,
            allocation.num_bits,
            data.num_examples,
            work,
            rows=rows,
            num_steps=num_steps,
            update_factor=update_factor,
        )
        inputs, data = jax.device_put((inputs, data), placement)
        return program.step(place(key), state, inputs, data, hyperparameters)

    def pure_step(
        key: Key,
        state: SimulationState,
        inputs: ClientInputs,
        data: Any,
        hyperparameters: Any = hyperparameters,
    ) -> tuple[SimulationState, RoundInfo]:
        return program.pure_step(key, state, inputs, data, hyperparameters)

    return Simulator(init, step, pure_step)
