"""Grids along a run, and the strip of those from the same noise."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion.host.progress import SILENT
from fedjax_diffusion.runs.pictures import STRIP, draw_grid
from fedjax_diffusion.runs.quality_log import EVALUATION_COUNTER
from fedjax_diffusion.runs.records import sample_path


@pytest.mark.parametrize("is_fixed", [True, False])
def test_fixed_noise_draws_the_same_noise_after_any_round_and_a_strip(tmp_path, is_fixed):
    counters = []

    def draw_samples(run_key, params, counter):
        counters.append(counter)
        return np.full((10, 8, 8, 1), params, np.uint8)

    config = SimpleNamespace(sampling=SimpleNamespace(fixed_noise=is_fixed))
    experiment = SimpleNamespace(config=config, run_key=None, draw_samples=draw_samples)
    for round in (10, 20):
        state = SimpleNamespace(round=round, ema_params=round)
        draw_grid(experiment, state, tmp_path, SILENT)
        assert sample_path(tmp_path, round).exists()
    assert counters == ([EVALUATION_COUNTER] * 2 if is_fixed else [10, 20])
    assert (tmp_path / STRIP).exists() == is_fixed
    if is_fixed:
        with Image.open(tmp_path / STRIP) as picture:
            pixels = np.asarray(picture)
            assert picture.info["Rows"] == "10 20"
        assert {*np.unique(pixels)} == {10, 20, 128}, "a row of each, and the border"
