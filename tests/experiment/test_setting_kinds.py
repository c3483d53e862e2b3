"""The one table of settings: complete, true to configs/default.py, and printed in the docs."""

import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference

from fedjax_diffusion import load_config
from fedjax_diffusion.experiment.build import check_config
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.config_files import list_items
from fedjax_diffusion.experiment.setting_kinds import format_settings, known_kinds
from fedjax_diffusion.host import own_names
from tests.tiny import PixelConfig, pixel_config

DEFAULTS = dict(list_items(load_config("default")))
KINDS = known_kinds(DEFAULTS)


def list_references(config, prefix=""):
    """Yields dotted key, type, and whether the default file marks it as optional."""
    for key, item in config.items(preserve_field_references=True):
        if isinstance(item, ConfigDict):
            yield from list_references(item, f"{prefix}{key}.")
        else:
            is_optional = isinstance(item, FieldReference)
            yield prefix + key, item.get_type() if is_optional else type(item), is_optional


def test_every_key_has_a_kind_of_the_type_that_the_default_file_gives():
    default = {key: marks for key, *marks in list_references(load_config("default"))}
    assert default == {key: [kind.type, kind.is_optional] for key, kind in KINDS.items()}


def test_every_number_is_bounded_and_every_text_and_tuple_limited():
    unlimited = {key for key, kind in KINDS.items() if kind.type is not bool and not kind.rules}
    assert unlimited == {"devices.csv"}, "its text may have any number of rows"
    entries = {key: kind.entry for key, kind in KINDS.items() if kind.type is tuple}
    assert len(entries) >= 8
    assert [key for key, entry in entries.items() if not (entry and entry.rules)] == []


def test_every_default_is_allowed():
    for key, kind in KINDS.items():
        kind.check(key, DEFAULTS[key])


def test_the_page_has_the_table():
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    table = page[page.index("| key | allowed | default |") :]
    shown = format_settings()
    for _, name in own_names._SOURCES:  # registered by other tests of this process
        shown = re.sub(rf", {name}\b", "", shown)
    assert table == shown, "python docs/make_settings.py writes it anew"


def test_the_keys_of_another_network_are_its_own():
    kinds = known_kinds({"model.name": "pixels", "seed": 0})
    keys = [key for key in kinds if key.startswith("model.")]
    assert sorted(keys) == ["model.gain", "model.name", "model.num_classes"]
    assert kinds["model.gain"].type is float
    config = to_run_config(pixel_config())
    assert isinstance(config.model, PixelConfig)
    check_config(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("channel.fading", "abc"),
        ("channel.shadowing_db", 1e308),
        ("cohort_size", 0),
        ("compute.cpu_devices", "100000"),
        ("compute.cpu_devices", "٣"),
        ("sweep.lanes", "65"),
        ("sweep.lanes", "many"),
        ("init_from", ""),
        ("diffusion.num_steps", 2**32),
        ("devices.bandwidth_hz", 1e-320),
        ("workload.noise_density_dbm_per_hz", 3000),
        ("evaluation.num_samples", -1),
        ("study.rounds", 0),
        ("compare.num_seeds", 1),
        ("client_optimizer.learning_rate", 1e-60),
        ("client_optimizer.learning_rate", 10**400),
        ("seed", 2**64),
        ("data.data_dir", ""),
        ("data.split", "a\0b"),
    ],
)
def test_a_value_of_any_group_is_refused_before_a_run_is_built(key, value):
    with pytest.raises(ValueError, match=rf"^config\.{key} must be .*, got .{{1,60}}$"):
        load_config("digits", {key: value})


def test_epochs_that_are_too_many_steps_are_refused():
    config = pixel_config(local_work__local_steps=None, local_work__local_epochs=1e9)
    with pytest.raises(ValueError, match=r"^local_work.local_epochs must be at most 2147483647 st"):
        check_config(to_run_config(config))
