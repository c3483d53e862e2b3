"""Federated training of any model: a client, the mapping over clients, a round, its program."""

from fedjax_diffusion.federated.aggregation import GivenServer, ServerUpdate, make_server_update
from fedjax_diffusion.federated.averaging import AVERAGES, Averaging, GivenAveraging
from fedjax_diffusion.federated.client import (
    ClientInputs,
    GivenTraining,
    LocalTraining,
    LocalWork,
    SharedInputs,
    gather_inputs,
    make_train,
)
from fedjax_diffusion.federated.client_map import (
    AXIS,
    CLIENT_MAPS,
    ClientError,
    ClientMapping,
    make_client_map,
)
from fedjax_diffusion.federated.hyperparameters import settle
from fedjax_diffusion.federated.program import Program, PureStep, make_program
from fedjax_diffusion.federated.round import ClientReport, RoundOutcome, make_round
from fedjax_diffusion.federated.run_map import RUN_AXIS, RunMapping, make_run_map
from fedjax_diffusion.federated.simulation_state import RoundInfo, SimulationState
from fedjax_diffusion.federated.uplink import MODES, Upload, empty_client_memory, make_send
from fedjax_diffusion.federated.upload_statistics import NOT_MEASURED, UploadStatistics

__all__ = [
    "AVERAGES",
    "AXIS",
    "CLIENT_MAPS",
    "MODES",
    "NOT_MEASURED",
    "RUN_AXIS",
    "Averaging",
    "ClientError",
    "ClientInputs",
    "ClientMapping",
    "ClientReport",
    "GivenAveraging",
    "GivenServer",
    "GivenTraining",
    "LocalTraining",
    "LocalWork",
    "Program",
    "PureStep",
    "RoundInfo",
    "RoundOutcome",
    "RunMapping",
    "ServerUpdate",
    "SharedInputs",
    "SimulationState",
    "Upload",
    "UploadStatistics",
    "empty_client_memory",
    "gather_inputs",
    "make_client_map",
    "make_program",
    "make_round",
    "make_run_map",
    "make_send",
    "make_server_update",
    "make_train",
    "settle",
]
