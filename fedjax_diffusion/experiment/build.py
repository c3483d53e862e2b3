"""Construction of an experiment from a config."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fedjax_diffusion.data import (
    ClientData,
    ImageDataset,
    LoadCohort,
    Partition,
    StreamedClients,
    count_slots,
    load_images,
    make_client_data,
    make_load_resident,
    partition,
)
from fedjax_diffusion.experiment.autotune import Trials, count_load, tune
from fedjax_diffusion.experiment.compute import (
    AUTO,
    ComputeConfig,
    make_mesh,
    resolve,
    start_backend,
)
from fedjax_diffusion.experiment.config import GivenConfig, to_run_config
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.experiment.kept_memory import check_kept_memory
from fedjax_diffusion.experiment.memory import DeviceMemoryError, lighten
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.sampling import DrawSamples
from fedjax_diffusion.experiment.scenario import Scenario, build_scenario
from fedjax_diffusion.experiment.start import read_start
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.federated.traffic import make_count_traffic
from fedjax_diffusion.host.cache import use_compile_cache
from fedjax_diffusion.host.progress import SILENT, Progress
from fedjax_diffusion.planning.faults import make_draw_faults
from fedjax_diffusion.quantization import check_entropy_coding
from fedjax_diffusion.simulator import SimulationState
from fedjax_diffusion.types import Params


class ProgramChoice(NamedTuple):
    """A choice made once for several runs, so that they share one compiled program.

    Attributes:
      compute: resolved settings; None: resolve those of the config.
      min_slots: smallest padded number of examples of a client; it changes no number.
    """

    compute: ComputeConfig | None = None
    min_slots: int = 0


def build(
    config: GivenConfig,
    choice: ProgramChoice = ProgramChoice(),  # noqa: B008  # it is immutable
    progress: Progress = SILENT,
    check: Callable[[], object] = lambda: None,
) -> Experiment:
    """Builds an experiment from a config.

    Args:
      config: from ``load_config``, or a ``RunConfig``.
      choice: of the compute settings and the shapes.
      progress: shows trials, if they resolve ``auto``.
      check: called after each of them; it raises if the run is to stop.

    Raises:
      ValueError: an unknown key, a wrong type, a value out of range, more clients than examples, a
        missing data set, or a deadline that no client can meet.
    """
    config = to_run_config(config)
    asked = choice.compute or config.compute
    dataset, parts, cohort_size, scenario = _settle(config, asked)
    image_shape = dataset.images.shape[1:]
    draw_conditions = scenario.make_draw_conditions()
    unplaced = Learner(config, image_shape, mesh=None)
    guess_load = functools.partial(count_load, unplaced, scenario, asked)
    compute = resolve(asked, cohort_size, dataset.images.nbytes, count_load=guess_load)
    mesh = make_mesh(int(compute.cpu_devices))
    num_slots = count_slots(max(map(len, parts)), choice.min_slots)
    data, load_cohort = _place_data(dataset, parts, cohort_size, num_slots, compute, mesh)
    learner = dataclasses.replace(unplaced, mesh=mesh)
    params = learner.make_task(compute).find_shapes()
    _check_options(config, params, len(parts), cohort_size, int(compute.cpu_devices))
    plan = scenario.make_planner()
    learner.make_draw_samples(compute)  # what no sampler can draw is refused before any trial
    load_first = functools.partial(load_cohort, draw_conditions(scenario.run_key, 0).cohort)
    trials = Trials(learner, scenario, data, load_first, progress, check)
    compute, simulator = tune(asked, compute, trials)
    return Experiment(
        config=config,
        compute=compute,
        run_key=scenario.run_key,
        dataset=dataset,
        parts=parts,
        data=data,
        devices=scenario.devices,
        workload=scenario.workload,
        learner=learner,
        simulator=simulator,
        draw_conditions=draw_conditions,
        draw_faults=make_draw_faults(config.faults),
        load_cohort=load_cohort,
        plan=plan,
        draw_samples=learner.make_draw_samples(compute),
        count_traffic=make_count_traffic(params, scenario.quantization),
    )


def lighten_experiment(experiment: Experiment) -> Experiment:
    """Returns the experiment with the next compute settings that need less device memory.

    Raises:
      DeviceMemoryError: the config fixes the settings, there are no lighter ones, or there are
        other processes, which would have to change too.
    """
    asked = experiment.config.compute
    compute, mesh = experiment.compute, experiment.learner.mesh
    cohort_size = experiment.config.cohort_size or len(experiment.parts)
    lighter = lighten(
        compute,
        -(-cohort_size // (1 if mesh is None else mesh.size)),
        jax.default_backend(),
        is_conv_free=asked.conv == AUTO,
    )
    if asked.client_map != AUTO or lighter is None or jax.process_count() > 1:
        lighter_settings = "a smaller local_work.batch_size, compute.dtype=bfloat16"
        if lighter is not None:
            size = "" if lighter.chunk_size is None else f" compute.chunk_size={lighter.chunk_size}"
            remat = " compute.remat=True" * lighter.remat
            lighter_settings = f"compute.client_map={lighter.client_map}{size}{remat}"
        raise DeviceMemoryError(
            f"a round does not fit into the device's memory ({compute.describe()}); set "
            f"{lighter_settings} and choose another --workdir"
        )
    return experiment.use(lighter)


def _check_options(
    config: RunConfig, params: Params, num_clients: int, cohort_size: int, num_devices: int
) -> None:
    """Raises ValueError if an option needs a package or memory that is missing."""
    if config.quantization.entropy_coding:
        check_entropy_coding()
    check_kept_memory(config, params, num_clients, cohort_size, num_devices)


def check_config(config: RunConfig) -> None:
    """Raises the ValueError of ``build``; places no data and compiles nothing."""
    dataset, parts, cohort_size, scenario = _settle(config, config.compute)
    scenario.make_planner()
    compute = dataclasses.replace(resolve(config.compute, cohort_size), conv="stock")
    learner = Learner(config, dataset.images.shape[1:], mesh=None)
    params = learner.make_task(compute).find_shapes()
    _check_options(config, params, len(parts), cohort_size, int(compute.cpu_devices))
    learner.make_simulator(compute)
    learner.make_draw_samples(compute)
    if config.init_from is not None:
        read_start(config.init_from, learner.make_task(compute).find_shapes())


def count_examples(config: RunConfig) -> int:
    """Returns the largest number of examples that a client of a config has."""
    labels = load_images(**vars(config.data)).labels
    return max(map(len, partition(labels, config.partition, seed=config.seed)))


def count_state_bytes(config: RunConfig) -> int:
    """Returns the bytes of a run's state, which a checkpoint holds; trains and compiles nothing."""
    dataset, parts, cohort_size, _ = _settle(config, config.compute)
    compute = dataclasses.replace(resolve(config.compute, cohort_size), conv="stock")
    learner = Learner(config, dataset.images.shape[1:], mesh=None)
    simulator, clients = learner.make_simulator(compute), _Clients(np.ones(len(parts)))
    state = learner.describe_state(simulator, clients)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def build_sampler(
    config: RunConfig, compute: ComputeConfig, image_shape: tuple[int, int, int]
) -> tuple[DrawSamples, SimulationState]:
    """Returns the sampler of a run's model, and ``describe_state`` of the run; reads no data.

    Args:
      config: of the run.
      compute: resolved settings, with which the run began.
      image_shape: (H, W, C).
    """
    num_clients = config.partition.num_clients
    cohort_size = config.cohort_size or num_clients
    start_backend(compute, cohort_size)
    use_compile_cache()
    compute = resolve(compute, cohort_size)
    learner = Learner(config, image_shape, make_mesh(int(compute.cpu_devices)))
    clients = _Clients(np.ones(num_clients))
    like = learner.describe_state(learner.make_simulator(compute), clients)
    return learner.make_draw_samples(compute), like


class _Clients(NamedTuple):
    """The part of the data that a state's shapes depend on."""

    num_examples: np.ndarray


class _Settled(NamedTuple):
    """Parts of an experiment that need no placement and no compilation."""

    dataset: ImageDataset
    parts: Partition
    cohort_size: int
    scenario: Scenario


def _settle(config: RunConfig, asked: ComputeConfig) -> _Settled:
    dataset = load_images(**vars(config.data))
    if config.model.num_classes not in (None, dataset.num_classes):
        number, there = config.model.num_classes, f"{dataset.num_classes} classes of {dataset.name}"
        raise ValueError(f"model.num_classes must be None or the {there}, got {number}")
    parts = partition(dataset.labels, config.partition, seed=config.seed)
    cohort_size = len(parts) if config.cohort_size is None else config.cohort_size
    start_backend(asked, cohort_size)
    use_compile_cache()
    num_examples = np.array([len(part) for part in parts])
    scenario = build_scenario(config, num_examples, dataset.images.shape[1:])
    return _Settled(dataset, parts, cohort_size, scenario)


def _place_data(
    dataset: ImageDataset,
    parts: Partition,
    cohort_size: int,
    num_slots: int,
    compute: ComputeConfig,
    mesh: Mesh | None,
) -> tuple[ClientData | StreamedClients, LoadCohort]:
    """Returns the clients' data, and the function that loads a cohort's onto the devices."""
    placement = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    if compute.data == "streamed":
        streamed = StreamedClients(dataset, parts, cohort_size, num_slots)
        return streamed, functools.partial(streamed.load, placement=placement)
    data = jax.device_put(make_client_data(dataset, parts, num_slots), placement)
    return data, make_load_resident(data)
