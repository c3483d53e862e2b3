"""The hook ``change``, the bar of a notebook, and the table of a run's rounds."""

import csv
import functools
import json
import types

import pytest

from fedjax_diffusion import build, run
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.host.progress import SILENT
from fedjax_diffusion.runs import hook, progress_bar
from tests.tiny import pixel_config


def freeze(experiment):
    """Returns an experiment whose rounds all have the conditions of the first, as its channel."""

    def draw(run_key, round):
        return experiment.draw_conditions(run_key, 0)

    return experiment._replace(draw_conditions=draw)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    return run(pixel_config(num_rounds=3), tmp_path_factory.mktemp("hook") / "run", change=freeze)


def test_a_change_is_played_and_recorded(frozen):
    costs = [record["baseline_joules"]["full_precision"] for record in frozen.records]
    assert costs == [costs[0]] * 3, "of equal uploads over an equal channel"
    noted = json.loads((frozen.workdir / "environment.json").read_text())["change"]
    assert noted["name"] == "freeze"
    assert "return experiment.draw_conditions(run_key, 0)" in noted["source"]


def test_a_run_with_a_change_goes_on_with_one_only(frozen, tmp_path, caplog):
    with pytest.raises(ValueError, match=r"holds a run with change=freeze, which only run\("):
        run(pixel_config(num_rounds=3), frozen.workdir)
    assert caplog.text == ""
    same = run(
        pixel_config(num_rounds=3), frozen.workdir, change=lambda experiment: freeze(experiment)
    )
    assert not same.is_new
    assert "change= is not the function with which the run began" in caplog.text
    with pytest.raises(ValueError, match="began without change="):
        hook.check_change(tmp_path, {"started": "today"}, freeze)
    hook.check_change(tmp_path, {}, freeze)
    assert hook.describe_change(functools.partial(freeze)) == {"name": "partial", "source": None}


def test_a_change_stays_with_other_compute_settings_and_keeps_the_config():
    experiment = build(pixel_config()).apply(freeze)
    lighter = experiment.use(experiment.compute)
    assert lighter.draw_conditions.__qualname__ == "freeze.<locals>.draw"
    assert isinstance(lighter.compute, ComputeConfig)
    for wrong in (lambda e: None, lambda e: e._replace(config=build(pixel_config(seed=1)).config)):
        with pytest.raises(ValueError, match="change must return the experiment with other parts"):
            experiment.apply(wrong)


def test_a_row_of_the_table_is_a_round(frozen):
    rows = list(csv.DictReader((frozen.workdir / "metrics.csv").read_text().splitlines()))
    assert [int(row["round"]) for row in rows] == [0, 1, 2]
    for row, record in zip(rows, frozen.records, strict=True):
        assert float(row["total_joules"]) == record["total_joules"]
        assert [int(bits) for bits in row["num_bits"].split()] == record["num_bits"]
        joules = record["baseline_joules"]["full_precision"]
        assert float(row["baseline_joules.full_precision"]) == joules
        assert row["step_refused"] == "False"


def test_a_notebook_has_a_bar_and_nothing_else_has(monkeypatch, capfd):
    given = progress_bar.Progress()
    record = {"round": 1, "loss": 0.25, "total_joules": 2.0}
    for progress in (given, None):
        with progress_bar.show_rounds(progress, 4) as (shown, count):
            count(record)
        assert shown is (progress or SILENT)
    assert capfd.readouterr().err == ""

    kernel = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(
        progress_bar.sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel)
    )
    with progress_bar.show_rounds(None, 4) as (shown, count):
        with shown.watch("compiling the round"):
            pass
        count(record)
        shown.tell("a line")
    captured = capfd.readouterr()
    assert "compiling the round" in captured.err
    assert "2/4" in captured.err
    assert "loss 0.2500  2 J" in captured.err
    assert captured.out == "a line\n"
    with progress_bar.show_rounds(given, 4) as (shown, _):
        assert shown is given
