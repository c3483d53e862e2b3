"""The command ``config``: every setting with value, unit and meaning, and where two differ."""

import dataclasses

import pytest

from fedjax_diffusion import load_config
from fedjax_diffusion.cli.argument_parser import check_words
from fedjax_diffusion.cli.descriptions import EXAMPLES
from fedjax_diffusion.cli.main import main, read_overrides
from fedjax_diffusion.cli.parser import make_parser
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.meanings import UNKNOWN, list_settings, read_meanings
from fedjax_diffusion.quantization.quantizers import QUANTIZERS
from fedjax_diffusion.runs.records import write_json


def test_every_setting_has_a_meaning_of_its_dataclass():
    config = to_run_config(load_config("configs/default.py"))
    settings = list(list_settings(config))
    assert {setting.key for setting in settings} == config.flatten().keys()
    assert [setting.key for setting in settings if len(setting.meaning) < 10] == []
    assert [s.key for s in settings if "a key of" in s.meaning or "``" in s.meaning] == []


def test_names_of_a_table_are_those_in_it(monkeypatch):
    monkeypatch.setitem(QUANTIZERS, "mine", QUANTIZERS["nearest"])
    read_meanings.cache_clear()
    config = to_run_config(load_config("digits"))
    meanings = {setting.key: setting.meaning for setting in list_settings(config)}
    read_meanings.cache_clear()
    assert f"{' | '.join(QUANTIZERS)}." in meanings["quantization.name"]
    assert [*QUANTIZERS][-1] == "mine"


def test_a_field_that_its_class_does_not_describe_has_no_meaning():
    @dataclasses.dataclass(frozen=True)
    class Group:
        """Settings.

        Attributes:
          first: of two
            lines.

        Raises:
          second: never.
        """

        first: int = 1
        second: int = 2

    assert read_meanings(Group) == {"first": "of two lines."}
    assert [s.meaning for s in list_settings(Group())] == ["of two lines.", UNKNOWN]


def test_config_shows_changed_values_units_and_ranges(capsys):
    assert main(["config", "digits", "--config.allocator.time_budget_seconds=9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("configs/digits.py")
    number = lines.index("allocator.time_budget_seconds = 9.0 s")
    assert (
        lines[number + 1]
        == "    T in [1e-9, 1e12], the deadline of a round: computing and uploading."
    )
    assert "allocator.error_budget.as_fixed_bits = 6 bits" in lines
    assert "cohort_size = None" in lines
    assert max(map(len, [line for line in lines if line[0] == " "])) <= 100


def test_config_shows_the_settings_that_differ_from_a_file_or_a_run(tmp_path, capsys):
    assert main(["config", "--config.seed=3", "--diff=digits"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.endswith("differ in 1 settings")
    assert lines[:2] == ["seed = 3", "     / 0"]

    other = to_run_config(load_config("digits", {"partition.num_clients": 3}))
    write_json(tmp_path / "config.json", other.to_dict())
    assert main(["config", str(tmp_path), "--diff=digits"]) == 0
    assert "partition.num_clients = 3\n                      / 8\n" in capsys.readouterr().out
    assert main(["config", str(tmp_path), "--config.seed=1"]) == 2
    assert "is a run folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_command_is_understood(name):
    parser = make_parser()
    words = EXAMPLES[name].split()
    assert words[0] == name
    check_words(parser, words)
    arguments, rest = parser.parse_known_args(words)
    overrides = read_overrides(arguments, rest)
    if vars(arguments).get("config"):
        load_config(arguments.config, overrides)
    help_text = parser.commands[name].format_help()
    assert help_text.endswith(f"example:\n  fedjax-diffusion {EXAMPLES[name]}\n")
