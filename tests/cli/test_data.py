"""The command ``data``: what it says of a data set, and where its pictures go."""

import pytest

from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data.image_cache import data_cache_folder
from tests.data.prepared import blot, write_cifar10

PICTURES = ("examples.png", "clients.png")
TWO_CLIENTS = ["--config.partition.name=iid", "--config.partition.num_clients=2"]


def test_no_test_decodes_into_the_users_cache(tmp_path_factory):
    assert data_cache_folder().is_relative_to(tmp_path_factory.getbasetemp())


def test_digits_are_described_and_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "--name=digits", "--split=test", "--config.partition.num_clients=3"]) == 0
    out = capsys.readouterr().out
    assert "examples  300" in out
    assert "num_clients      3" in out
    for name in PICTURES:
        assert (tmp_path / "data_reports/digits-test" / name).stat().st_size > 1000


def test_a_prepared_folder_is_described_and_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder, _, labels = write_cifar10(tmp_path / "data")
    before = sorted((tmp_path / "data").rglob("*"))
    for split, num_examples in (("train", 7), ("train[:4]", 4)):
        command = ["data", "--name=cifar10", "--data_dir=data", f"--split={split}", *TWO_CLIENTS]
        assert main(command) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "data set  cifar10 3.0.2"
        assert f"examples  {num_examples}" in lines
        counts = [int(line.split()[2]) for line in lines if line.startswith("  class ")]
        assert counts == [list(labels[:num_examples]).count(i) for i in range(10)]
    assert sorted((tmp_path / "data").rglob("*")) == before
    for name in ("cifar10-train", "cifar10-train__4_"):  # of each split its own
        pictures = (tmp_path / "data_reports" / name).iterdir()
        assert {path.name for path in pictures} == set(PICTURES)
    (shard,) = folder.glob("*-train.*")
    blot(shard)
    assert main(["data", "--name=cifar10", "--data_dir=data", *TWO_CLIENTS]) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["", "/below", "/examples.png"])
def test_an_output_that_cannot_be_written_is_one_line(tmp_path, capsys, place):
    """A file in the place of the folder, of one above it, or a folder in the place of a picture."""
    if place == "/examples.png":
        (tmp_path / "there/examples.png").mkdir(parents=True)
        output = tmp_path / "there"
    else:
        (tmp_path / "there").write_text("precious")
        output = f"{tmp_path}/there{place}"
    assert main(["data", "--name=digits", f"--output={output}"]) == 2
    captured = capsys.readouterr()
    reason = f"--output must be a writable folder, got {str(output)!r} ("
    assert captured.err.startswith(f"fedjax-diffusion: {reason}")
    assert (captured.err.count("\n"), captured.out) == (1, "")
    assert place == "/examples.png" or (tmp_path / "there").read_text() == "precious"


def test_a_picture_that_cannot_be_drawn_ends_nothing(tmp_path, capsys, caplog, monkeypatch):
    def fail(*_):
        raise RuntimeError("latex could not be found")

    monkeypatch.setattr("fedjax_diffusion.data.report.draw_partition", fail)
    assert main(["data", "--name=digits", f"--output={tmp_path}"]) == 0
    assert "1,497" in capsys.readouterr().out
    assert "a picture cannot be made, all else goes on without it: latex" in caplog.text
