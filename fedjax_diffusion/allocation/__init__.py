"""Allocator: bits, times and transmit power of every client at the least energy of a round."""

from fedjax_diffusion.allocation.allocation import Allocation
from fedjax_diffusion.allocation.allocator import allocate, make_allocator
from fedjax_diffusion.allocation.band.requirements import least_bandwidth_hz
from fedjax_diffusion.allocation.example import example_problem
from fedjax_diffusion.allocation.io.json_files import (
    read_allocation,
    read_problem,
    write_allocation,
)
from fedjax_diffusion.allocation.io.table import allocation_table
from fedjax_diffusion.allocation.method import Method
from fedjax_diffusion.allocation.method_spec import METHODS, MethodSpec, parse_method
from fedjax_diffusion.allocation.problem import AllocationProblem, uplink_bits
from fedjax_diffusion.allocation.refinement import refine
from fedjax_diffusion.allocation.registration import Decision, register_method
from fedjax_diffusion.allocation.round_facts import RoundFacts
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.allocation.verification.verification import Verification, verify

__all__ = [
    "METHODS",
    "Allocation",
    "AllocationProblem",
    "Decision",
    "Method",
    "MethodSpec",
    "RoundFacts",
    "Status",
    "Verification",
    "allocate",
    "allocation_table",
    "example_problem",
    "least_bandwidth_hz",
    "make_allocator",
    "parse_method",
    "read_allocation",
    "read_problem",
    "refine",
    "register_method",
    "uplink_bits",
    "verify",
    "write_allocation",
]
