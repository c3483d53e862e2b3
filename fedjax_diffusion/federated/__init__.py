"""Federated training of any model: one client, many clients, one round."""

from fedjax_diffusion.federated.aggregation import make_server_update
from fedjax_diffusion.federated.client import (
    ClientInputs,
    LocalWork,
    SharedInputs,
    make_local_training,
)
from fedjax_diffusion.federated.client_map import AXIS, CLIENT_MAPS, ClientError, make_client_map
from fedjax_diffusion.federated.round import ClientReport, RoundOutcome, make_round
from fedjax_diffusion.federated.uplink import MODES, Upload, empty_client_memory, make_send

__all__ = [
    "AXIS",
    "CLIENT_MAPS",
    "MODES",
    "ClientError",
    "ClientInputs",
    "ClientReport",
    "LocalWork",
    "RoundOutcome",
    "SharedInputs",
    "Upload",
    "empty_client_memory",
    "make_client_map",
    "make_local_training",
    "make_round",
    "make_send",
    "make_server_update",
]
