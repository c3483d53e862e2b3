"""Edge devices, their channels, and their costs of computing and sending."""

from fedjax_diffusion.edge.channel import ChannelConfig, ChannelState, draw_channel, path_loss_db
from fedjax_diffusion.edge.devices import (
    FLEETS,
    DeviceClass,
    DeviceParams,
    Distance,
    FleetConfig,
    FleetRow,
    describe_fleet,
    make_fleet,
)
from fedjax_diffusion.edge.fleet_csv import FLEET_COLUMNS
from fedjax_diffusion.edge.registration import register_fleet

__all__ = [
    "FLEETS",
    "FLEET_COLUMNS",
    "ChannelConfig",
    "ChannelState",
    "DeviceClass",
    "DeviceParams",
    "Distance",
    "FleetConfig",
    "FleetRow",
    "describe_fleet",
    "draw_channel",
    "make_fleet",
    "path_loss_db",
    "register_fleet",
]
