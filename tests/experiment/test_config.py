"""Config files: found anywhere, overridden as ml_collections users know it, types held."""

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fedjax_diffusion import load_config
from fedjax_diffusion.experiment.config import check_types, to_run_config
from fedjax_diffusion.experiment.config_files import find_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


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
        ("seed", "1.5", r"^config.seed must be a whole number in 0..4294967295, got 1.5$"),
        ("seed", "True", "config.seed must be a whole number in .*, got True"),
        ("seed", "None", "config.seed must be a whole number in"),
        ("seed", "abc", "config.seed must be a whole number in .*, got 'abc'"),
        ("model.dropout", "True", r"config.model.dropout must be a number in \[0, 1\), got True"),
        (
            "augmentation.random_flip",
            "1",
            "config.augmentation.random_flip must be True or False, got 1",
        ),
        (
            "client_optimizer.learning_rate",
            "1e400",
            r"learning_rate must be a number in \[1e-37, 3e38\], got inf",
        ),
        ("seed", "{[]:1}", "config.seed must be a whole number"),
        ("seed", "-" * 9000 + "1", r"config.seed must be .*, got '-{56}\.\.\.$"),
        (
            "allocator.baselines",
            "(1,)",
            "config.allocator.baselines: each entry must be a method of the .*, got 1",
        ),
        (
            "study.goals_percent",
            "('a',)",
            "config.study.goals_percent: each entry must be a number in",
        ),
        (
            "model.channel_multipliers",
            "(1.5,)",
            r"each entry must be a whole number in 1..64, got 1.5",
        ),
        ("cohort_size", "2.5", "config.cohort_size must be a whole number in .* or None, got 2.5"),
        (
            "model.channel_multipliers",
            "2.5",
            r"channel_multipliers must be a tuple .*, written as \(8,\) or \(8, 16\), got 2.5",
        ),
        ("model", "3", "config.model is a group; set one of model"),
    ],
)
def test_a_bad_override_names_key_value_and_what_is_allowed(key, value, message):
    with pytest.raises(ValueError, match=message):
        load_config("digits", {key: value})


def test_one_value_is_a_tuple_of_one():
    given = {"model.attention_resolutions": "8", "study.distances_meters": 100}
    config = load_config("digits", given | {"allocator.baselines": "demand"})
    assert config.model.attention_resolutions == (8,)
    assert config.study.distances_meters == (100,)
    assert config.allocator.baselines == ("demand",)


def test_steps_beside_epochs_are_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"None for the other \(local_steps=None\), got 20 and 1"):
        to_run_config(load_config("digits", {"local_work.local_epochs": 1}))


def test_a_config_file_loads_those_beside_it(tmp_path):
    (tmp_path / "base.py").write_text(
        "from fedjax_diffusion import load_config\n"
        "def get_config():\n    return load_config('digits', {'seed': 7})\n"
    )
    (tmp_path / "mine.py").write_text(
        "from fedjax_diffusion import load_config\n"
        "def get_config():\n    return load_config('base.py', {'num_rounds': 2})\n"
    )
    config = load_config(tmp_path / "mine.py")
    assert (config.seed, config.num_rounds) == (7, 2)
    with pytest.raises(ValueError, match=r"no file base\.py"):
        load_config("base.py")


def test_a_config_with_a_missing_or_stray_key_is_refused():
    config = load_config("digits").to_dict()
    del config["model"]["dropout"]
    with pytest.raises(ValueError, match=r"config\.model\.dropout: missing"):
        check_types(ConfigDict(config))
    config["model"].update(dropout=0.0, depth=3)
    with pytest.raises(ValueError, match=r"config\.model\.depth: unknown key"):
        check_types(ConfigDict(config))


def test_numbers_of_numpy_and_jax_and_paths_are_taken():
    config = load_config(
        Path("digits"),
        {
            "seed": np.int64(3),
            "client_optimizer.learning_rate": np.float32(0.5),
            "augmentation.random_flip": np.bool_(True),
            "federated.proximal_weight": jnp.float32(0.25),
            "model.channel_multipliers": (np.int32(1), np.int32(2)),
            "data.data_dir": Path("somewhere"),
        },
    )
    assert (type(config.seed), config.seed) == (int, 3)
    assert config.client_optimizer.learning_rate == 0.5
    assert config.augmentation.random_flip is True
    assert config.federated.proximal_weight == 0.25
    assert config.model.channel_multipliers == (1, 2)
    assert config.data.data_dir == "somewhere"


def test_a_seed_uses_all_its_bits_or_is_refused():
    assert to_run_config(load_config("digits", {"seed": 2**32 - 1})).seed == 2**32 - 1
    with pytest.raises(
        ValueError, match=r"config.seed must be a whole number in 0..4294967295, got 4294967296"
    ):
        to_run_config(load_config("digits", {"seed": 2**32}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.py has no function get_config$"),
        ("get_config = 3", "mine.py has no function get_config$"),
        ("def get_config(:", "mine.py, line 1: SyntaxError: "),
        ("import no_such_module", "mine.py, line 1: ModuleNotFoundError: No module named"),
        ("def get_config():\n    return 1 / 0", "mine.py, line 2: ZeroDivisionError: "),
        ("def get_config():\n    raise RuntimeError('a\\nb')", "line 2: RuntimeError: a b$"),
        ("def get_config():\n    return {}", "get_config must return a ConfigDict, got dict"),
        ("def get_config(size): pass", "mine.py: get_config needs an argument; write mine.py:ARG"),
        ("async def get_config(): pass", "must return a ConfigDict, got coroutine"),
        ("\0", r"mine\.py: SyntaxError: source code string cannot contain null bytes$"),
        (
            "from fedjax_diffusion import load_config\nload_config('digits').lock().zzzz = 3",
            r"line 2: AttributeError: 'Key \"zzzz\" does not exist [a-z ]*\.$",
        ),
        (
            "from fedjax_diffusion import load_config\nload_config('digits').modle = 3",
            r"line 2: AttributeError: .* is locked\. Did you mean \"model\" instead of \"modle\"",
        ),
        ("raise SystemExit(7)", "mine.py, line 1: SystemExit: 7"),
        (
            "from fedjax_diffusion import load_config\ndef get_config():\n"
            "    config = load_config('digits')\n    config.seed = 'a'\n    return config",
            "mine.py, line 4: TypeError: ",
        ),
    ],
)
def test_an_error_in_a_config_file_is_one_line_with_file_and_line(
    text, message, monkeypatch, tmp_path
):
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        load_config("mine.py")
    assert "\n" not in str(caught.value)


def test_what_is_no_config_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "two.py").write_text("def get_config(a, b): pass")
    monkeypatch.chdir(tmp_path)
    for name, message in {
        "/dev/null": "no config '/dev/null'; give a path to a .py file",
        "": "no config ''; ",
        b"digits": "must be a name or a path, got b'digits'",
        None: "must be a name or a path, got None",
        "two.py": "two.py: get_config needs an argument; write two.py:ARGUMENT",
        "two.py:a": "two.py: get_config must take one argument or none",
    }.items():
        with pytest.raises(ValueError, match="config: ") as caught:
            load_config(name)  # pyright: ignore[reportArgumentType]
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"config.3: unknown key"):
        load_config("digits", {3: 1})  # pyright: ignore[reportArgumentType]


def test_a_config_file_may_use_dataclasses_and_import_its_neighbours(monkeypatch, tmp_path):
    folder = tmp_path / "10:30"
    folder.mkdir()
    (folder / "my_neighbour_of_configs.py").write_text("SEED = 7")
    (folder / "mine.py").write_text(
        "from __future__ import annotations\n"
        "import dataclasses\n"
        "from fedjax_diffusion import load_config\n"
        "from my_neighbour_of_configs import SEED\n"
        "@dataclasses.dataclass\n"
        "class Mine:\n"
        "    seed: int = SEED\n"
        "def get_config(name=''):\n"
        "    return load_config('digits', {'seed': Mine().seed + len(name)})\n"
    )
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert load_config("10:30/mine.py").seed == 7
    assert load_config("10:30/mine.py:abc").seed == 10
    assert sys.path == path
