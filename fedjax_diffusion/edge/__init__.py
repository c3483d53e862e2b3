"""The edge devices, their channels, and what computing and sending costs them."""

from fedjax_diffusion.edge.channel import ChannelState, draw_channel, path_loss_db
from fedjax_diffusion.edge.devices import (
    FLEETS,
    DeviceClass,
    DeviceParams,
    FleetRow,
    describe_fleet,
    make_fleet,
)

__all__ = [
    "FLEETS",
    "ChannelState",
    "DeviceClass",
    "DeviceParams",
    "FleetRow",
    "describe_fleet",
    "draw_channel",
    "make_fleet",
    "path_loss_db",
]
