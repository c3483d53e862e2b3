"""A config as frozen dataclasses: the same keys, values and defaults as configs/default.py."""

import dataclasses
import json

import pytest

from fedjax_diffusion import load_config, load_run, run
from fedjax_diffusion.experiment.config import fill_missing, to_run_config, with_overrides
from fedjax_diffusion.experiment.run_config import RunConfig, flatten
from tests.tiny import pixel_config, tiny_config

DEFAULT = load_config("default")
CONFIG = to_run_config(DEFAULT)
ALTERNATIVES = {  # None where another field of the group is given instead
    "local_work.local_steps",
    "allocator.error_budget.as_fixed_bits",
}


def list_fields(group, prefix=""):
    """Yields (dotted key, dataclass, field) of a config's groups, and of those within."""
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        if dataclasses.is_dataclass(value):
            yield from list_fields(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, type(group), field


def test_groups_and_fields_are_the_keys_of_the_default():
    assert sorted(key for key, _, _ in list_fields(CONFIG)) == list(flatten(DEFAULT.to_dict()))


def test_every_default_of_a_dataclass_is_that_of_the_config():
    """A dataclass of two groups has the default of one of them."""
    values = CONFIG.flatten()
    defaults, of_groups = {}, {}
    for key, kind, field in list_fields(CONFIG):
        if field.default is not dataclasses.MISSING and key not in ALTERNATIVES:
            defaults[kind.__name__, field.name] = json.loads(json.dumps(field.default))
            of_groups.setdefault((kind.__name__, field.name), []).append(values[key])
    others = {name: value for name, value in defaults.items() if value not in of_groups[name]}
    assert others == {}
    assert len(defaults) > 20


@pytest.mark.parametrize("name", ["default", "cifar10", "paper_digits", "radio", "non_iid"])
def test_a_config_converts_to_the_settings_it_came_from(name):
    given = load_config(name)
    config = to_run_config(given)
    as_saved = json.dumps(config.to_dict())
    assert as_saved == json.dumps(given.to_dict()), "the same keys, values and order"
    assert to_run_config(json.loads(as_saved)) == config == to_run_config(config)
    assert hash(config) == hash(to_run_config(given))
    assert config.flatten()["allocator.error_budget.as_fixed_bits"] == (
        config.allocator.error_budget.as_fixed_bits
    )


def test_overrides_are_read_and_checked_like_those_of_a_file():
    changed = with_overrides(
        CONFIG,
        {"seed": "3", "model.channel_multipliers": "(1, 2)", "workload.cycles_per_example": 7},
    )
    assert (changed.seed, changed.model.channel_multipliers) == (3, (1, 2))
    assert repr(changed.workload.cycles_per_example) == "7.0"
    assert changed == to_run_config(
        load_config(
            "default",
            {"seed": 3, "model.channel_multipliers": (1, 2), "workload.cycles_per_example": 7.0},
        )
    )
    for key, value, said in (
        ("sampling.nm_steps", 3, "unknown key; did you mean sampling.num_steps"),
        (
            "sampling.num_steps",
            0.5,
            "config.sampling.num_steps must be a whole number in 1.* or None, got 0.5",
        ),
        (
            "sampling.num_steps",
            0,
            "config.sampling.num_steps must be a whole number in 1.* or None, got 0",
        ),
        ("model", 3, "config.model is a group; set one of model.name, model.channels"),
    ):
        with pytest.raises(ValueError, match=said):
            with_overrides(CONFIG, {key: value})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"seed": -1}, "config.seed must be .*, got -1"), ({"num_rounds": 0}, "num_rounds must be")],
)
def test_scalars_out_of_range(overrides, message):
    with pytest.raises(ValueError, match=message):
        to_run_config(tiny_config(**overrides))


def test_settings_of_an_earlier_version_get_what_they_lack():
    earlier = CONFIG.to_dict()
    del earlier["compute"]["tune"], earlier["model"]["num_classes"], earlier["guidance"]
    assert to_run_config(fill_missing(earlier)) == CONFIG
    earlier["model"]["depth"] = 3
    with pytest.raises(ValueError, match=r"config\.model\.depth: unknown key"):
        to_run_config(fill_missing(earlier))


def test_a_run_takes_either_form_of_its_config(tmp_path):
    config = pixel_config(num_rounds=1)
    run(to_run_config(config), tmp_path)
    assert not run(config, tmp_path).is_new, "the folder holds a run of this config"
    experiment, _ = load_run(tmp_path, {"num_samples": 5})
    assert isinstance(experiment.config, RunConfig)
    sampling = dataclasses.replace(experiment.config.sampling, num_samples=4)
    assert dataclasses.replace(experiment.config, sampling=sampling) == to_run_config(config)
