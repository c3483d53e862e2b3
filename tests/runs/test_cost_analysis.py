"""A backend that counts nothing, or refuses to: every command goes on, and says so in one line.

Trials on such a backend: test_trials.py.
"""

import functools
import logging

import jax
import pytest

from fedjax_diffusion.cli import sweep as command
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.diffusion import DiffusionConfig, UNetConfig
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.programs import find_task
from fedjax_diffusion.experiment.task import make_task
from fedjax_diffusion.planning import workload
from fedjax_diffusion.runs import evaluate as module
from fedjax_diffusion.study import folder
from fedjax_diffusion.sweep.runner import play_sweep
from tests.runs.test_evaluate import pixels_as_features
from tests.study.test_folder import OVERRIDES
from tests.sweep.stubs import play_stub
from tests.tiny import PIXELS, pixel_config

STUDIED = {key: value for key, value in OVERRIDES.items() if key.startswith("study.")}
STUDIED |= {"study.methods": ("full_precision", "full_precision:max_frequency")}
STUDY = [f"--config.{key}={value}" for key, value in STUDIED.items()]
COUNTED = [*PIXELS, "--config.num_rounds=1", "--config.workload.cycles_per_example=None"]
COUNTED += [
    "--config.allocator.time_budget_seconds=1000",
    "--config.allocator.baselines=('full_precision', 'full_precision:max_frequency')",
    "--config.evaluation.num_samples=32",
]


def refuse(self):
    raise RuntimeError("UNIMPLEMENTED: no cost analysis here")


def count_nothing(monkeypatch, answer):
    """Gives XLA's analyses another answer; a count is kept with its task."""
    find_task.cache_clear()
    for stage in (jax.stages.Lowered, jax.stages.Compiled):
        monkeypatch.setattr(stage, "cost_analysis", answer)
        monkeypatch.setattr(stage, "memory_analysis", answer, raising=False)


def test_flops_are_counted_from_shapes_within_a_percent(monkeypatch, caplog):
    """Elementwise functions are what the two counts see differently."""
    unet, pixels = UNetConfig(channel_multipliers=(1,)), to_run_config(pixel_config()).model
    others, found = (DiffusionConfig("linear", 200), (8, 8, 1)), []
    flops = make_task(unet, *others).count_flops()
    # A U-Net is long to trace: how XLA is asked in vain is seen with another network.
    for answer, model in ((None, unet), (refuse, pixels), (lambda self: None, pixels)):
        assert caplog.records == []
        with monkeypatch.context() as patch:
            if answer is None:
                patch.setattr(workload, "_count_by_xla", lambda *_: None)
            else:
                count_nothing(patch, answer)
            found.append(make_task(model, *others).count_flops())
        assert [record.getMessage() for record in caplog.records] == [
            "XLA counts no FLOPs on this machine; they are counted from the model's shapes"
        ]
        caplog.clear()
    assert found[0] == pytest.approx(flops, rel=0.01)
    assert found[1] == found[2] > 0


def test_every_command_goes_on(tmp_path, monkeypatch, caplog, capsys):
    count_nothing(monkeypatch, refuse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "make_extractor", lambda *_: pixels_as_features())
    monkeypatch.setattr(folder, "save_figure", lambda *_: None)  # of the study
    caplog.set_level(logging.WARNING)
    variants = ("full: allocator.method=full_precision", "two: allocator.method=fixed_bits:2")
    compared = ["--config.compare.num_seeds=2", f"--config.compare.variants={variants}"]
    # A comparison counts before it plays; its runs are as the one above.
    monkeypatch.setattr(command, "play_sweep", functools.partial(play_sweep, play=play_stub))
    assert main(["run", *COUNTED]) == 0
    assert main(["sample", "--workdir=runs/pixels", "--num_samples=4"]) == 0
    assert main(["evaluate", "--workdir=runs/pixels"]) == 0
    assert main(["compare", *COUNTED, *compared]) == 0
    assert main(["study", *PIXELS, *STUDY, "--config.workload.cycles_per_example=None"]) == 0
    assert "counted from the model's shapes" in caplog.text
    assert "Traceback" not in capsys.readouterr().err


def test_where_not_even_shapes_count_it_is_one_line_if_it_is_needed(tmp_path, monkeypatch, capsys):
    count_nothing(monkeypatch, refuse)
    monkeypatch.setattr("jax.experimental.roofline.roofline", refuse)
    workdir = f"--workdir={tmp_path / 'run'}"
    assert main(["run", *COUNTED, workdir]) == 2
    error = capsys.readouterr().err
    assert "workload.cycles_per_example must be given for this model" in error
    assert error.count("\n") == 1
    assert main(["run", *PIXELS, "--config.num_rounds=1", workdir]) == 0
