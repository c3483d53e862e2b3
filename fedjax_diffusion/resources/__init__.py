"""Devices, channels, the energy of a round, and the allocator that divides it."""

from fedjax_diffusion.resources.allocation import Allocation
from fedjax_diffusion.resources.allocator import METHODS, allocate, make_allocator, parse_method
from fedjax_diffusion.resources.band.need import least_bandwidth_hz
from fedjax_diffusion.resources.channel import ChannelState, draw_channel, path_loss_db
from fedjax_diffusion.resources.devices import (
    FLEETS,
    DeviceClass,
    DeviceParams,
    FleetRow,
    describe_fleet,
    make_fleet,
)
from fedjax_diffusion.resources.files import read_allocation, read_problem, write_allocation
from fedjax_diffusion.resources.late import charge_late, uplink_bits
from fedjax_diffusion.resources.ledger import THIS_RUN, Ledger, SavingsRow, Spending
from fedjax_diffusion.resources.problem import LEVELS, AllocationProblem
from fedjax_diffusion.resources.refinement import refine
from fedjax_diffusion.resources.status import Status
from fedjax_diffusion.resources.table import allocation_table
from fedjax_diffusion.resources.verification.verification import Verification, verify

__all__ = [
    "FLEETS",
    "LEVELS",
    "METHODS",
    "THIS_RUN",
    "Allocation",
    "AllocationProblem",
    "ChannelState",
    "DeviceClass",
    "DeviceParams",
    "FleetRow",
    "Ledger",
    "SavingsRow",
    "Spending",
    "Status",
    "Verification",
    "allocate",
    "allocation_table",
    "charge_late",
    "describe_fleet",
    "draw_channel",
    "least_bandwidth_hz",
    "make_allocator",
    "make_fleet",
    "parse_method",
    "path_loss_db",
    "read_allocation",
    "read_problem",
    "refine",
    "uplink_bits",
    "verify",
    "write_allocation",
]
