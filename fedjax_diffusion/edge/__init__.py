"""Edge devices, their channels, and their costs of computing and sending."""

from fedjax_diffusion.edge.channel import ChannelConfig, ChannelState, draw_channel, path_loss_db
from fedjax_diffusion.edge.devices import (
    FLEETS,
    DeviceClass,
    DeviceParams,
    FleetConfig,
    FleetRow,
    describe_fleet,
    make_fleet,
)

__all__ = [
    "FLEETS",
    "ChannelConfig",
    "ChannelState",
    "DeviceClass",
    "DeviceParams",
    "FleetConfig",
    "FleetRow",
    "describe_fleet",
    "draw_channel",
    "make_fleet",
    "path_loss_db",
]
