"""Networks by name: the dataclass of their settings, and the function that builds one."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, Protocol

from fedjax_diffusion.diffusion import Denoiser, UNetConfig, make_denoiser
from fedjax_diffusion.values import OneOf, check_value, find_kinds, to_plain

UNET = "unet"


class ModelConfig(Protocol):
    """A frozen dataclass that describes a network; its fields are the keys of group ``model``."""

    @property
    def name(self) -> str:
        """A key of ``NETWORKS``."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of classes of a network with labels; None for one without labels."""
        ...


class NetworkKind(NamedTuple):
    """Networks of one kind.

    Attributes:
      settings: a frozen dataclass, a ``ModelConfig``; every field has a default.
      make: called like ``make_denoiser``.
    """

    settings: type
    make: Callable[..., Denoiser]


NETWORKS: dict[str, NetworkKind] = {UNET: NetworkKind(UNetConfig, make_denoiser)}


def find_settings(name: Any) -> type:
    """Returns the dataclass of a network's settings.

    Args:
      name: value of ``model.name``.

    Raises:
      ValueError: there is no such network.
    """
    check_value("config.model.name", name, Annotated[str, OneOf(NETWORKS)])
    return NETWORKS[to_plain(name)].settings


def find_name(group: Mapping[str, Any]) -> Any:
    """Returns the name of the network in a group ``model``; without a name it is the U-Net."""
    return group.get("name", UNET)


def complete_settings(given: Mapping[str, Any], name: Any) -> dict[str, Any]:
    """Returns the group ``model`` of a config with all settings of a network.

    A config file that only changes ``model.name`` has the U-Net's settings beside it: they are
    replaced. Settings that the group lacks have their defaults. A whole number for a field of
    type float becomes one.

    Args:
      given: the group.
      name: of the network; another one than that of the group has its defaults.

    Raises:
      ValueError: there is no such network.
    """
    own, chosen = find_name(given), to_plain(name)
    defaults = dataclasses.asdict(find_settings(chosen)())
    if chosen == UNET == own:  # whose settings a config has in full
        return dict(given)
    is_left_over = given.keys() == {field.name for field in dataclasses.fields(UNetConfig)}
    if chosen != own or is_left_over:
        return defaults
    kinds = find_kinds(find_settings(chosen))
    floats = {key for key, kind in kinds.items() if kind.type is float}
    whole = {k: float(v) for k, v in given.items() if k in floats and type(v) is int}
    return {**defaults, **given, **whole}
