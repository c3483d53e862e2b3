"""The commands, as a user types them."""

import subprocess
import sys
import tempfile

import pytest

from fedjax_diffusion import __version__
from fedjax_diffusion.cli.commands import COMMANDS
from fedjax_diffusion.cli.main import main
from tests.tiny import PIXELS


def test_run_prints_setting_rounds_table_and_paths(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *PIXELS, "--config.num_rounds=2"]) == 0
    out, err = capfd.readouterr()
    assert (err, caplog.text) == ("", "")
    for text in ("data     digits: 1497 images", "clients  3", "sensor", "round    1/2", "2/2"):
        assert text in out
    for text in ("this_run", "full_precision", "fixed_bits:8:max_frequency", "upload saved"):
        assert text in out
    assert "runs/pixels/samples/round_00002.png" in out
    assert (tmp_path / "runs/pixels/figures/training.png").exists()

    assert main(["run", *PIXELS, "--config.num_rounds=2"]) == 0
    out, err = capfd.readouterr()
    assert "is already finished; nothing was done" in out
    assert err == ""


def test_a_run_is_drawn_from_with_noise_on_the_way(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *PIXELS, "--config.num_rounds=1"]) == 0
    pictures = []
    for flags in ([], ["--eta=1"]):
        command = ["sample", "--workdir=runs/pixels", "--num_samples=2", "--num_steps=3", *flags]
        assert main(command) == 0
        pictures.append((tmp_path / "runs/pixels/samples/sample_0.png").read_bytes())
    assert pictures[0] != pictures[1]
    assert (capfd.readouterr().err, caplog.text) == ("", "")
    assert main(["sample", "--workdir=runs/pixels", "--guidance_scale=2"]) == 2
    assert "guidance_scale" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--config.sede=1"], "did you mean seed"),
        (["run", "--config.seed"], "needs a value"),
        (["run", "--workdir="], "--workdir= is empty; give a path"),
        (["evaluate", "--workdir=x", "--output="], "--output= is empty; give a path"),
        (["sample", "--workdir=~/nowhere"], "me/nowhere is not a run folder"),
        (["verify", "--problem=a", "--allocation=b", "--plugins="], "--plugins= is empty; give"),
        (["compare", "--earlier=~/runs.csv", "--dry_run"], "/me/runs.csv cannot be read: No such"),
        (["run", "--seed=1"], "unknown argument --seed=1"),
        (["run", "x" * 5000], f"unknown argument {'x' * 60}...{'x' * 59}; see --help"),
        (["run", "--config=missing.py"], "no file missing.py"),
        (["run", "--config.data.name=cifar10", "--config.data.data_dir=nowhere"], "nowhere"),
        (
            ["run", *PIXELS, "--config.allocator.time_budget_seconds=0.1"],
            "no client can participate",
        ),
        (
            ["data", "--name=cifar10", "--data_dir=nowhere"],
            "`tfds build cifar10 --data_dir=nowhere",
        ),
        (["data", "--name=digits", "--split=half"], "no split 'half'"),
        (
            ["compare", "--config.compare.num_seeds=1"],
            "config.compare.num_seeds must be a whole number in 2..10000, got 1",
        ),
        (["evaluate", "--workdir=nowhere"], "nowhere is not a run folder"),
        (["sample", "--workdir=nowhere"], "nowhere is not a run folder"),
        (["sample", "--workdir=nowhere", "--config.seed=1"], "unknown argument"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/me")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("fedjax-diffusion: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_debugging_shows_where_it_comes_from(monkeypatch):
    monkeypatch.setenv("FEDJAX_DIFFUSION_DEBUG", "1")
    with pytest.raises(ValueError, match="did you mean"):
        main(["run", "--config.sede=1"])


def test_an_error_that_nobody_expects_is_one_line_that_names_its_traceback(
    tmp_path, monkeypatch, capsys
):
    def study(arguments, overrides):
        raise KeyError("first line\nsecond line")

    monkeypatch.setitem(COMMANDS, "study", study)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["study"]) == 1
    captured = capsys.readouterr()
    (path,) = tmp_path.iterdir()
    assert captured.err.startswith("fedjax-diffusion: unexpected KeyError: ")
    assert f"its traceback is in {path}" in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")
    text = path.read_text()
    assert text.startswith(f"fedjax-diffusion {__version__}: ")
    assert "Traceback (most recent call last)" in text
    assert "in study" in text

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert main(["study"]) == 1
    assert capsys.readouterr().err.endswith("FEDJAX_DIFFUSION_DEBUG=1 shows its traceback\n")
    monkeypatch.setenv("FEDJAX_DIFFUSION_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["study"])


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "fedjax_diffusion", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == __version__
