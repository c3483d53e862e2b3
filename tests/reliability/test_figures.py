"""Figures depend on no user's settings of Matplotlib."""

import pytest

from fedjax_diffusion.runs.figure import draw_figure
from tests.runs.test_figure import RUNS, write_run

pytestmark = pytest.mark.usefixtures("drawn_figures")

SETTINGS = {"text.usetex": True, "font.size": 40, "figure.dpi": 10, "savefig.dpi": 7}


def test_a_figure_is_the_same_with_any_settings(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    write_run(tmp_path, RUNS["no baselines"])
    before = draw_figure(tmp_path).read_bytes()
    with matplotlib.rc_context(SETTINGS):
        assert draw_figure(tmp_path).read_bytes() == before
        assert matplotlib.rcParams["font.size"] == 40
