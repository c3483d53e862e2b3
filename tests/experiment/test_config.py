"""Config files: found anywhere, overridden as ml_collections users know it, types held."""

import pathlib

import pytest
from ml_collections import ConfigDict

from fedjax_diffusion import load_config
from fedjax_diffusion.experiment.config import check_types
from fedjax_diffusion.experiment.config_files import find_config

CONFIGS = sorted((pathlib.Path(__file__).parents[2] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_config_is_complete_and_short(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # nothing depends on the working directory
    by_name, by_path = load_config(path.stem), load_config(str(path))
    check_types(by_name)
    assert by_name.to_dict() == by_path.to_dict()
    if path.stem != "default":
        body = path.read_text().split("def get_config")[1]
        assert sum("config." in line for line in body.splitlines()) <= 20
        assert "Run:      fedjax-diffusion run --config=" in path.read_text()


def test_a_variant_is_named_after_a_colon():
    assert load_config("cifar10:smoke").num_rounds < load_config("cifar10").num_rounds
    with pytest.raises(ValueError, match="variant 'smoke'"):
        load_config("cifar10:other")
    with pytest.raises(ValueError, match=r"digits.py has no variants, got 'small'"):
        load_config("digits:small")


def test_a_users_own_file_is_found_in_the_working_directory(monkeypatch, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from fedjax_diffusion import load_config\n"
        "def get_config():\n"
        "    config = load_config('digits')\n"
        "    config.seed = 7\n"
        "    return config\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_config("mine.py").seed == 7
    with pytest.raises(ValueError, match=r"no file other\.py; .* cifar10, default, digits"):
        find_config("other.py")


def test_a_number_of_devices_may_be_a_number():
    for value in (2, "2"):
        assert load_config("digits", {"compute.cpu_devices": value}).compute.cpu_devices == "2"


def test_overrides_are_read_as_on_a_command_line():
    config = load_config(
        "digits",
        {
            "seed": "3",
            "client_optimizer.learning_rate": "1",
            "model.channel_multipliers": "(1, 2)",
            "augmentation.random_flip": "true",
            "data.data_dir": "some/folder",
            "local_work.local_steps": "None",
            "local_work.local_epochs": "2",
            "partition.name": "iid",
        },
    )
    assert config.seed == 3
    assert config.client_optimizer.learning_rate == 1.0
    assert isinstance(config.client_optimizer.learning_rate, float)
    assert config.model.channel_multipliers == (1, 2)
    assert config.augmentation.random_flip is True
    assert config.data.data_dir == "some/folder"
    assert config.local_work.local_steps is None
    assert config.local_work.local_epochs == 2.0
    assert config.partition.name == "iid"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sede", "1", "config.sede: unknown key; did you mean seed"),
        ("model.chanels", "8", "did you mean model.channels"),
        ("seed", "1.5", "config.seed must be int, got 1.5"),
        ("seed", "True", "config.seed must be int, got True"),
        ("seed", "None", "config.seed must be int"),
        ("seed", "abc", "config.seed must be int, got 'abc'"),
        ("model.dropout", "True", "config.model.dropout must be float"),
        ("augmentation.random_flip", "1", "config.augmentation.random_flip must be bool"),
        ("cohort_size", "2.5", "config.cohort_size must be int or None"),
        ("model.channel_multipliers", "2", "config.model.channel_multipliers must be tuple"),
        ("model", "3", "config.model is a group; set one of model"),
    ],
)
def test_a_bad_override_names_key_value_and_what_is_allowed(key, value, message):
    with pytest.raises(ValueError, match=message):
        load_config("digits", {key: value})


def test_a_config_with_a_missing_or_stray_key_is_refused():
    config = load_config("digits").to_dict()
    del config["model"]["dropout"]
    with pytest.raises(ValueError, match=r"config\.model\.dropout: missing"):
        check_types(ConfigDict(config))
    config["model"].update(dropout=0.0, depth=3)
    with pytest.raises(ValueError, match=r"config\.model\.depth: unknown key"):
        check_types(ConfigDict(config))
