"""Edge devices: classes with their limits and demands, and fleets drawn from them."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeAlias

import flax.struct
import numpy as np

from fedjax_diffusion.bits import BitWidth
from fedjax_diffusion.edge.fleet_csv import parse_fleet, read_fleet
from fedjax_diffusion.keys import Stream, stream_seed
from fedjax_diffusion.values import Count, OneOf, Range, check_fields, check_value

Distance: TypeAlias = Annotated[float, Range(1e-3, 1e9)]


@dataclasses.dataclass(frozen=True)
class DeviceClass:
    """One kind of device.

    Attributes:
      name: of the class.
      effective_capacitance: kappa, J s^2 / cycle^3.
      max_frequency_hz: F, Hz.
      max_power_watts: P, W.
      min_bits: the demanded bits per parameter, 1..16 or 32.
      max_bits: the largest possible bits per parameter, 1..16 or 32.
      flops_per_cycle: floating-point operations per CPU cycle.
      share: part of the fleet, relative to the sum of all shares.
    """

    name: str
    effective_capacitance: float
    max_frequency_hz: float
    max_power_watts: float
    min_bits: int
    max_bits: int
    flops_per_cycle: float
    share: float


FLEETS: dict[str, tuple[DeviceClass, ...]] = {
    # 23 dBm is 0.2 W. Smaller devices are slower, have less power, demand and allow fewer bits.
    "mixed": (
        DeviceClass("sensor", 1e-28, 1.0e9, 0.1, 2, 8, 4.0, 0.4),
        DeviceClass("phone", 1e-28, 1.8e9, 0.2, 4, 12, 16.0, 0.4),
        DeviceClass("laptop", 1e-28, 2.5e9, 0.2, 6, 16, 32.0, 0.2),
    ),
    "uniform": (DeviceClass("device", 1e-28, 2.0e9, 0.2, 4, 16, 16.0, 1.0),),
}
"""Fleets by name, with values usual in the field: kappa 1e-28, F 1-2.5 GHz, P up to 23 dBm."""


@flax.struct.dataclass
class DeviceParams:
    """Constant properties of a run's K devices; NumPy arrays, float64 unless stated otherwise.

    Attributes:
      effective_capacitance: [K], kappa, J s^2 / cycle^3.
      max_frequency_hz: [K], F.
      max_power_watts: [K], P.
      bandwidth_hz: [K], W, each client's own sub-channel.
      distance_meters: [K], from the base station.
      min_bits: int32 [K], the demanded bits per parameter.
      max_bits: int32 [K], the largest possible bits per parameter.
      flops_per_cycle: [K].
      class_index: int32 [K], into ``class_names``.
      class_names: static, the names of the fleet's classes.
      cycles_per_example: [K], CPU cycles of training on one example; None: not given by device.
    """

    effective_capacitance: np.ndarray
    max_frequency_hz: np.ndarray
    max_power_watts: np.ndarray
    bandwidth_hz: np.ndarray
    distance_meters: np.ndarray
    min_bits: np.ndarray
    max_bits: np.ndarray
    flops_per_cycle: np.ndarray
    class_index: np.ndarray
    class_names: tuple[str, ...] = flax.struct.field(pytree_node=False)
    cycles_per_example: np.ndarray | None = None


class FleetRow(NamedTuple):
    """One class of a fleet, from ``describe_fleet``; pairs are (smallest, largest)."""

    name: str
    num_clients: int
    max_frequency_ghz: float
    max_power_watts: float
    min_bits: tuple[int, int]
    max_bits: tuple[int, int]
    distance_meters: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class FleetConfig:
    """Settings of a run's fleet.

    Attributes:
      fleet: classes of devices, a key of ``FLEETS``.
      min_distance_meters: smallest distance from the base station, in [0.001, 1e9].
      max_distance_meters: largest distance, not below the smallest, at most 1e9.
      bandwidth_hz: W of every client's own sub-channel, in [0.001, 1e15].
      min_bits: the demanded bits of every client, 1..16 or 32; None: those of its class.
      max_bits: the largest bits of every client, 1..16 or 32; None: those of its class.
      csv: path or text of a CSV file with the devices (docs/devices.md); None: drawn. A path is
        replaced by the file's rows, so that the settings of a run hold them.

    Raises:
      ValueError: a value is out of range, also one of ``csv``, or the file cannot be read.
    """

    fleet: Annotated[str, OneOf(FLEETS)]
    min_distance_meters: Distance
    max_distance_meters: Distance
    bandwidth_hz: Annotated[float, Range(1e-3, 1e15)]
    min_bits: BitWidth | None
    max_bits: BitWidth | None
    csv: str | None = None

    def __post_init__(self):
        check_fields(self, "devices")
        if self.max_distance_meters < self.min_distance_meters:
            raise ValueError(
                "devices.max_distance_meters must be at least devices.min_distance_meters = "
                f"{self.min_distance_meters:g}, got {self.max_distance_meters:g}"
            )
        if self.csv is not None:
            object.__setattr__(self, "csv", read_fleet(self.csv))


def make_fleet(
    num_clients: int,
    *,
    seed: int,
    fleet: str,
    min_distance_meters: float,
    max_distance_meters: float,
    bandwidth_hz: float,
    min_bits: int | None = None,
    max_bits: int | None = None,
    csv: str | None = None,
) -> DeviceParams:
    """Draws or reads the devices of a run: classes by share, positions uniform over a ring.

    Args:
      num_clients: K >= 1.
      seed: of the run; the draw depends only on it and the other arguments.
      fleet: a key of ``FLEETS``. Class counts follow the shares to within one device.
      min_distance_meters: as in ``FleetConfig``, like the following ones.
      max_distance_meters: as there.
      bandwidth_hz: as there.
      min_bits: as there.
      max_bits: as there.
      csv: path or text of a CSV file with K devices, in their order. A column that it does not
        have comes from the other arguments: positions are drawn, the rest is that of the class.

    Raises:
      ValueError: an argument is out of range, the file is not of K devices, or a column is missing
        for a class that ``fleet`` does not have.
    """
    check_value("num_clients", num_clients, Count)
    distances = (min_distance_meters, max_distance_meters)
    FleetConfig(fleet, *distances, bandwidth_hz, min_bits, max_bits)
    generator = np.random.default_rng(stream_seed(seed, Stream.FLEET))
    class_names, class_index = _draw_classes(FLEETS[fleet], num_clients, generator)
    squares = generator.uniform(min_distance_meters**2, max_distance_meters**2, num_clients)
    given: dict[str, Any] = {"bandwidth_hz": np.full(num_clients, bandwidth_hz, np.float64)}
    given |= {"distance_meters": np.sqrt(squares), "cycles_per_example": None}
    if csv is not None:
        class_names, class_index, columns = parse_fleet(csv, num_clients)
        given |= columns
    find = partial(_find_values, fleet, class_names, class_index, given)
    return DeviceParams(
        effective_capacitance=find("effective_capacitance", np.float64),
        max_frequency_hz=find("max_frequency_hz", np.float64),
        max_power_watts=find("max_power_watts", np.float64),
        bandwidth_hz=given["bandwidth_hz"],
        distance_meters=given["distance_meters"],
        min_bits=find("min_bits", np.int32, min_bits),
        max_bits=find("max_bits", np.int32, max_bits),
        flops_per_cycle=find("flops_per_cycle", np.float64),
        class_index=class_index,
        class_names=class_names,
        cycles_per_example=given["cycles_per_example"],
    )


def describe_fleet(devices: DeviceParams) -> list[FleetRow]:
    """Returns one row per class of the clients, in the fleet's order."""
    rows = []
    for index, name in enumerate(devices.class_names):
        is_member = devices.class_index == index
        if not is_member.any():
            continue

        def span(values, is_member=is_member):
            return values[is_member].min().item(), values[is_member].max().item()

        rows.append(
            FleetRow(
                name=name,
                num_clients=int(is_member.sum()),
                max_frequency_ghz=span(devices.max_frequency_hz)[1] / 1e9,
                max_power_watts=span(devices.max_power_watts)[1],
                min_bits=span(devices.min_bits),
                max_bits=span(devices.max_bits),
                distance_meters=span(devices.distance_meters),
            )
        )
    return rows


def _draw_classes(
    classes: tuple[DeviceClass, ...], num_clients: int, generator: np.random.Generator
) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the classes, and the class of each device, int32 [K], by the shares."""
    class_index = np.repeat(np.arange(len(classes)), _count_shares(classes, num_clients))
    names = tuple(device_class.name for device_class in classes)
    return names, generator.permutation(class_index).astype(np.int32)


def _count_shares(classes: tuple[DeviceClass, ...], num_clients: int) -> np.ndarray:
    """Returns each class's number of devices, int [classes], by the largest-remainder method."""
    shares = np.array([device_class.share for device_class in classes])
    quotas = num_clients * shares / shares.sum()
    counts = np.floor(quotas + 1e-9).astype(int)
    neediest = np.argsort(counts - quotas, kind="stable")[: num_clients - counts.sum()]
    counts[neediest] += 1
    return counts


def _find_values(
    fleet: str,
    class_names: tuple[str, ...],
    class_index: np.ndarray,
    given: Mapping[str, np.ndarray],
    field: str,
    dtype: type,
    override: int | None = None,
) -> np.ndarray:
    """Returns a field of each device [K]: the override, else the given one, else its class's."""
    if override is not None:
        return np.full(len(class_index), override, dtype)
    if field in given:
        return given[field].astype(dtype)
    classes = {device_class.name: device_class for device_class in FLEETS[fleet]}
    if unknown := [name for name in class_names if name not in classes]:
        raise ValueError(
            f"devices.csv: has no column {field}, and devices.fleet = {fleet!r} has no class "
            f"{unknown[0]!r} to take it from; add the column, or a column class with some of "
            f"{', '.join(classes)}"
        )
    return np.array([getattr(classes[name], field) for name in class_names], dtype)[class_index]
