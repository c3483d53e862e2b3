"""Choice of lanes, as on accelerators: by their memory, or one point after the other."""

import dataclasses
import math

import jax
import pytest

from fedjax_diffusion import expand
from fedjax_diffusion.data import load_images
from fedjax_diffusion.experiment.build import ProgramChoice, count_state_bytes
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.host.progress import SILENT
from fedjax_diffusion.sweep import packing
from tests.tiny import pixel_config

VMAP = ComputeConfig("vmap", None, "matmul", 1, "resident")


class Choices:
    """The choice that a group's first point made."""

    def __init__(self, compute):
        self.compute = compute

    def find(self, config, progress):
        return ProgramChoice(self.compute)


def make_points(number):
    return expand(pixel_config(), lambda h: h.sweep("seed", range(number)))


POINTS = make_points(70)


@pytest.fixture
def choose(monkeypatch):
    """Returns ``choose(number of points, ...)``: their lanes on devices that are no CPUs."""

    def choose(num_points, memory=math.inf, compute=VMAP, devices=1, asked="auto", at_most=64):
        with monkeypatch.context() as patch:
            local = jax.local_devices()[:devices]
            patch.setattr(packing.jax, "default_backend", lambda: "gpu")
            patch.setattr(packing.jax, "local_devices", lambda: local)
            patch.setattr(packing.jax, "local_device_count", lambda: devices)
            patch.setattr(packing, "count_memory_bytes", lambda: min(memory, 1 << 50))
            (group,) = packing.split_points(
                POINTS[:num_points], asked, at_most, Choices(compute), SILENT
            )
        assert group.points == POINTS[:num_points]
        return group.lanes

    return choose


def count_lane_bytes():
    """Returns the bytes of a lane: its clients' training, its state three times."""
    config = POINTS[0].config
    learner = Learner(config, load_images(**vars(config.data)).images.shape[1:], mesh=None)
    return 3 * learner.count_client_bytes(VMAP) + 3 * count_state_bytes(config)


def test_lanes_are_as_many_as_fit_into_half_of_the_memory(choose):
    lane = count_lane_bytes()
    for number in (2, 5):
        assert choose(70, memory=2 * number * lane).num_lanes == number
        assert choose(70, memory=2 * number * lane, devices=2).num_lanes == 2 * number
    assert choose(70, memory=2 * (2 * lane - 1)) is None
    assert choose(70).num_lanes == 64
    assert choose(7).num_lanes == 7
    assert choose(70, at_most=9).num_lanes == 9
    assert choose(70, asked="12").num_lanes == 12


def test_points_play_one_after_the_other_where_clients_do(choose):
    assert choose(70, compute=dataclasses.replace(VMAP, client_map="map")) is None
    assert choose(70, compute=dataclasses.replace(VMAP, data="streamed")) is None
    chunked = dataclasses.replace(VMAP, client_map="chunked", chunk_size=2)
    assert choose(70, compute=chunked).num_lanes == 64
    assert choose(70, asked="1") is None
    assert choose(70, at_most=1) is None
    assert choose(1) is None


def test_two_packs_take_turns_from_16_lanes_on_and_devices_share_each(choose):
    for num_points, devices, num_lanes, num_packs, sharers in (
        (15, 1, 15, 1, None),
        (16, 1, 16, 2, None),
        (19, 1, 18, 2, None),
        (15, 2, 14, 1, 2),
        (19, 2, 16, 2, 2),
        (3, 4, 3, 1, 3),
    ):
        lanes = choose(num_points, devices=devices)
        assert (lanes.num_lanes, lanes.num_packs) == (num_lanes, num_packs)
        assert lanes.mapping.name == "vmap"
        mesh = lanes.mapping.mesh
        assert (None if mesh is None else mesh.size) == sharers
