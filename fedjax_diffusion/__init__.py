"""A JAX simulator of quantized, energy-aware federated training of diffusion models on one host.

    config = load_config("configs/digits.py")
    result = run(config, "runs/digits")

Everything below ``run`` is public too: the data and its partition, the quantizer and its wire
format, the allocator, and ``make_simulator`` for any model and loss.
"""

from fedjax_diffusion.allocation import (
    Allocation,
    AllocationProblem,
    Status,
    Verification,
    allocate,
    refine,
    verify,
)
from fedjax_diffusion.compare import Comparison, run_comparison
from fedjax_diffusion.data import (
    ClientData,
    ImageDataset,
    PartitionConfig,
    draw_batch,
    load_images,
    make_client_data,
    partition,
    partition_dirichlet,
    partition_iid,
    partition_quantity_skew,
    partition_shards,
)
from fedjax_diffusion.diffusion import (
    Denoiser,
    NoiseSchedule,
    UNetConfig,
    ddpm_loss,
    guide,
    make_denoiser,
    make_schedule,
    sample_ancestral,
    sample_ddim,
)
from fedjax_diffusion.edge import DeviceClass, DeviceParams, draw_channel, make_fleet
from fedjax_diffusion.experiment.build import Experiment, build
from fedjax_diffusion.experiment.config import load_config
from fedjax_diffusion.federated import (
    ClientInputs,
    ClientMapping,
    LocalTraining,
    LocalWork,
    ServerUpdate,
    gather_inputs,
)
from fedjax_diffusion.host.version import __version__ as __version__
from fedjax_diffusion.keys import Stream, seed_to_key, stream_key
from fedjax_diffusion.quantization import (
    QuantizationConfig,
    WireFormatError,
    decode_update,
    encode_update,
    quantization_error_bound,
    stochastic_quantize,
)
from fedjax_diffusion.runs.evaluate import evaluate, evaluate_folder
from fedjax_diffusion.runs.ledger import Ledger
from fedjax_diffusion.runs.runner import RunResult, load_run, run
from fedjax_diffusion.simulator import RoundInfo, SimulationState, Simulator, make_simulator
from fedjax_diffusion.sweep.index import read_sweep
from fedjax_diffusion.sweep.points import expand
from fedjax_diffusion.sweep.runner import run_sweep
from fedjax_diffusion.types import Batch

__all__ = [
    "Allocation",
    "AllocationProblem",
    "Batch",
    "ClientData",
    "ClientInputs",
    "ClientMapping",
    "Comparison",
    "Denoiser",
    "DeviceClass",
    "DeviceParams",
    "Experiment",
    "ImageDataset",
    "Ledger",
    "LocalTraining",
    "LocalWork",
    "NoiseSchedule",
    "PartitionConfig",
    "QuantizationConfig",
    "RoundInfo",
    "RunResult",
    "ServerUpdate",
    "SimulationState",
    "Simulator",
    "Status",
    "Stream",
    "UNetConfig",
    "Verification",
    "WireFormatError",
    "allocate",
    "build",
    "ddpm_loss",
    "decode_update",
    "draw_batch",
    "draw_channel",
    "encode_update",
    "evaluate",
    "evaluate_folder",
    "expand",
    "gather_inputs",
    "guide",
    "load_config",
    "load_images",
    "load_run",
    "make_client_data",
    "make_denoiser",
    "make_fleet",
    "make_schedule",
    "make_simulator",
    "partition",
    "partition_dirichlet",
    "partition_iid",
    "partition_quantity_skew",
    "partition_shards",
    "quantization_error_bound",
    "read_sweep",
    "refine",
    "run",
    "run_comparison",
    "run_sweep",
    "sample_ancestral",
    "sample_ddim",
    "seed_to_key",
    "stochastic_quantize",
    "stream_key",
    "verify",
]
