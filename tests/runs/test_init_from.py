"""A run that starts from the weights of another one, and the files in between."""

import json
import logging

import chex
import numpy as np
import pytest

from fedjax_diffusion import build, export, load_run, run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.experiment import start
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.weight_files import read_weights, write_weights
from fedjax_diffusion.experiment.weights import list_weights
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.folder import grow_sweep
from fedjax_diffusion.sweep.identity import hash_config
from fedjax_diffusion.sweep.points import expand
from tests.tiny import pixel_config


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a run of two rounds."""
    return run(pixel_config(num_rounds=2), tmp_path_factory.mktemp("first") / "run").workdir


def test_the_model_starts_bit_by_bit_from_the_average_of_a_run(first, tmp_path, capsys):
    _, state = load_run(first)
    assert main(["export", f"--workdir={first}", f"--output={tmp_path / 'average.msgpack'}"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'average.msgpack'}\n"
    for source in (first, export(first), tmp_path / "average.msgpack"):
        begun = build(pixel_config(init_from=str(source))).start()
        chex.assert_trees_all_equal(begun.params, state.ema_params)
        chex.assert_trees_all_equal(begun.ema_params, state.ema_params)
        assert int(begun.round) == 0
    shards = [tree["gain"].addressable_data(0) for tree in (begun.params, begun.ema_params)]
    assert len({shard.unsafe_buffer_pointer() for shard in shards}) == 2


def test_export_of_the_global_model_or_over_other_weights(first, tmp_path):
    _, state = load_run(first)
    path = export(first, output=tmp_path / "global.npz", model="global")
    expected = list_weights(state.params)
    assert {n: a.tobytes() for n, a in read_weights(path).items()} == {
        n: a.tobytes() for n, a in expected.items()
    }
    assert export(first, output=path, model="global") == path
    with pytest.raises(ValueError, match="exists and holds other weights"):
        export(first, output=path)
    with pytest.raises(ValueError, match="model must be one of average, global, got 'ema'"):
        export(first, model="ema")
    with pytest.raises(ValueError, match="is not a run folder"):
        export(tmp_path)


def test_a_run_knows_its_start_by_hash_and_goes_on_wherever_that_lies(first, tmp_path, caplog):
    path, moved = tmp_path / "start.npz", tmp_path / "moved.msgpack"
    write_weights(path, read_weights(export(first)))
    write_weights(moved, read_weights(path))
    config = to_run_config(pixel_config(init_from=str(path), num_rounds=1))
    there = to_run_config(pixel_config(init_from=str(moved), num_rounds=1))
    assert (
        hash_config(config)
        == hash_config(there)
        != hash_config(to_run_config(pixel_config(num_rounds=1)))
    )
    begun = run(config, tmp_path / "run")
    noted = json.loads((begun.workdir / "environment.json").read_text())["init_from"]
    assert config.init_from == f"{noted['path']}@sha256:{noted['sha256']}"

    path.unlink()
    with caplog.at_level(logging.WARNING):
        longer = run(pixel_config(init_from=str(moved), num_rounds=2), begun.workdir)
    assert (caplog.text, longer.records[0]) == ("", begun.records[0])
    moved.unlink()
    assert load_run(begun.workdir)[0].config.init_from.startswith(str(moved))

    other = list_weights({"bias": np.ones((8, 8, 1), np.float32)})
    write_weights(path, other)
    with pytest.raises(ValueError, match="holds a run of another config \\(init_from: "):
        run(pixel_config(init_from=str(path), num_rounds=2), begun.workdir)
    with pytest.raises(ValueError, match=r"init_from: .*start\.npz: .* it lacks gain$"):
        run(pixel_config(init_from=str(path)), tmp_path / "new")
    with pytest.raises(ValueError, match="holds other weights than when the run was set up"):
        run(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_without_a_run_is_no_start(tmp_path):
    with pytest.raises(ValueError, match=r"init_from: .* holds no run with a whole checkpoint"):
        to_run_config(pixel_config(init_from=str(tmp_path)))


def test_a_sweep_finds_moved_weights_and_reads_each_file_once(first, tmp_path, monkeypatch):
    path, moved, reads = tmp_path / "start.npz", tmp_path / "moved.npz", []
    write_weights(path, read_weights(export(first)))
    real = start.read_weights
    monkeypatch.setattr(start, "read_weights", lambda file: reads.append(file) or real(file))

    def grow(source):
        """Grows a sweep over the weights, and one that starts from them; returns both."""
        seeds = hyper.sweep("seed", [0, 1, 2])
        axes = hyper.product([hyper.sweep("init_from", [None, str(source)]), seeds])
        swept, based = (to_run_config(pixel_config(init_from=s)) for s in (None, str(source)))
        return (
            grow_sweep(swept, expand(swept, lambda _: axes), tmp_path / "swept"),
            grow_sweep(based, expand(based, lambda _: seeds), tmp_path / "based"),
        )

    swept, based = grow(path)
    assert len(reads) == 2, "once for each sweep, not for each of six points"
    path.rename(moved)
    for earlier, now in zip((swept, based), grow(moved), strict=True):
        assert [(p.hash, p.label) for p in now.points] == [
            (p.hash, p.label) for p in earlier.points
        ]
        assert now.points[-1].config.init_from.startswith(str(moved))
    assert now.base.init_from.startswith(str(moved))
    write_weights(moved, {name: array + 1 for name, array in read_weights(export(first)).items()})
    with pytest.raises(ValueError, match="holds another sweep \\(init_from: "):
        grow(moved)
