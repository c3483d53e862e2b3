"""The command of a report gives back the settings of its folder."""

import shlex

import pytest

from fedjax_diffusion import expand, load_config
from fedjax_diffusion.cli.main import read_overrides
from fedjax_diffusion.cli.parser import make_parser
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.report.recipe import format_command, list_changes
from fedjax_diffusion.sweep.hyper import add_axes, parse_axis
from tests.tiny import tiny_config

CONFIGS = {
    "digits": load_config("digits"),
    "tiny": tiny_config(compute__client_map="map", cohort_size=2),
    "paper": load_config("paper_digits"),
    "texts": tiny_config(data__split="train[:50%]", data__data_dir="/a folder/$HOME", seed=3),
}


def read_command(command):
    """Returns the config of a command, and its axes."""
    _, *words = shlex.split(command)
    arguments, rest = make_parser().parse_known_args(words)
    config = load_config(arguments.config, read_overrides(arguments, rest))
    return to_run_config(config), vars(arguments).get("axes", [])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["run", "comparison", "study"])
def test_command_gives_the_same_settings(name, kind):
    config = to_run_config(CONFIGS[name])
    again, _ = read_command(format_command(kind, config, [{}], "a folder"))
    assert list_changes(kind, again) == list_changes(kind, config)
    assert again.allocator == config.allocator
    assert again.data == config.data
    if kind == "comparison":
        assert again.compare == config.compare


def test_command_of_a_sweep_gives_the_same_points():
    config = to_run_config(tiny_config())

    def get_hyper(h):
        axes = [h.sweep("model.channel_multipliers", [(1,), (1, 2)]), h.sweep("seed", range(3))]
        return h.product([*axes, h.sweep("cohort_size", [None, 2])])

    points = expand(config, get_hyper)
    command = format_command("sweep", config, [point.overrides for point in points], "w")
    again, axes = read_command(command)
    expanded = expand(again, add_axes(map(parse_axis, axes)))
    assert {point.hash for point in expanded} == {point.hash for point in points}


def test_points_that_are_no_product_go_on_in_their_folder():
    config = to_run_config(tiny_config())
    overrides = [{"seed": 0, "num_rounds": 1}, {"seed": 1, "num_rounds": 2}]
    command = format_command("sweep", config, overrides, "sweeps/one")
    assert command == "fedjax-diffusion sweep --workdir=sweeps/one"


def test_settings_that_a_command_does_not_read_are_no_changes():
    config = to_run_config(load_config("digits", {"study.rounds": 7, "compare.num_seeds": 3}))
    assert list_changes("run", config) == {}
    assert list_changes("study", config) == {"study.rounds": 7}
    assert list_changes("comparison", config) == {"compare.num_seeds": 3}
