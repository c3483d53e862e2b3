# The public names of the package. Type checkers read them here, and so does __init__.py, which
# imports a module when one of its names is first used.

from fedjax_diffusion.allocation import (
    Allocation as Allocation,
    AllocationProblem as AllocationProblem,
    Decision as Decision,
    RoundFacts as RoundFacts,
    Status as Status,
    Verification as Verification,
    allocate as allocate,
    refine as refine,
    register_method as register_method,
    verify as verify,
)
from fedjax_diffusion.allocation.io.json_files import (
    read_allocation as read_allocation,
    read_problem as read_problem,
)
from fedjax_diffusion.compare import (
    Comparison as Comparison,
    run_comparison as run_comparison,
)
from fedjax_diffusion.data import (
    ClientData as ClientData,
    ImageDataset as ImageDataset,
    PartitionConfig as PartitionConfig,
    draw_batch as draw_batch,
    load_images as load_images,
    make_client_data as make_client_data,
    register_dataset as register_dataset,
    register_partitioner as register_partitioner,
    partition as partition,
    partition_dirichlet as partition_dirichlet,
    partition_iid as partition_iid,
    partition_quantity_skew as partition_quantity_skew,
    partition_shards as partition_shards,
)
from fedjax_diffusion.diffusion import (
    Denoiser as Denoiser,
    NoiseSchedule as NoiseSchedule,
    UNetConfig as UNetConfig,
    ddpm_loss as ddpm_loss,
    guide as guide,
    make_denoiser as make_denoiser,
    make_schedule as make_schedule,
    register_loss as register_loss,
    register_sampler as register_sampler,
    sample_ancestral as sample_ancestral,
    sample_ddim as sample_ddim,
)
from fedjax_diffusion.edge import (
    DeviceClass as DeviceClass,
    DeviceParams as DeviceParams,
    draw_channel as draw_channel,
    make_fleet as make_fleet,
    register_fleet as register_fleet,
)
from fedjax_diffusion.experiment.build import build as build
from fedjax_diffusion.experiment.config import load_config as load_config
from fedjax_diffusion.experiment.experiment import Experiment as Experiment
from fedjax_diffusion.experiment.registration import (
    register_network as register_network,
    register_optimizer as register_optimizer,
)
from fedjax_diffusion.federated import (
    Averaging as Averaging,
    ClientInputs as ClientInputs,
    ClientMapping as ClientMapping,
    LocalTraining as LocalTraining,
    LocalWork as LocalWork,
    ServerUpdate as ServerUpdate,
    gather_inputs as gather_inputs,
)
from fedjax_diffusion.host.plugins import import_plugins as import_plugins
from fedjax_diffusion.host.version import __version__ as __version__
from fedjax_diffusion.keys import (
    Stream as Stream,
    seed_to_key as seed_to_key,
    stream_key as stream_key,
)
from fedjax_diffusion.quantization import (
    Grid as Grid,
    Payload as Payload,
    QuantizationConfig as QuantizationConfig,
    Quantizer as Quantizer,
    WireFormatError as WireFormatError,
    decode_update as decode_update,
    encode_update as encode_update,
    quantization_error_bound as quantization_error_bound,
    register_quantizer as register_quantizer,
    stochastic_quantize as stochastic_quantize,
)
from fedjax_diffusion.report.source_figures import read_figures as read_figures
from fedjax_diffusion.runs.evaluate import (
    evaluate as evaluate,
    evaluate_folder as evaluate_folder,
)
from fedjax_diffusion.runs.export import export as export
from fedjax_diffusion.runs.ledger import Ledger as Ledger
from fedjax_diffusion.runs.load import load_run as load_run
from fedjax_diffusion.runs.runner import RunResult as RunResult, run as run
from fedjax_diffusion.runs.sample import sample as sample
from fedjax_diffusion.simulator import (
    RoundInfo as RoundInfo,
    SimulationState as SimulationState,
    Simulator as Simulator,
    make_simulator as make_simulator,
)
from fedjax_diffusion.sweep.index import read_sweep as read_sweep
from fedjax_diffusion.sweep.points import expand as expand
from fedjax_diffusion.sweep.runner import run_sweep as run_sweep
from fedjax_diffusion.types import Batch as Batch
