"""Pictures along a run: grids of images, the strip of fixed noise, and the figure of its rounds."""

from pathlib import Path

from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.host.figures import pictures_may_fail
from fedjax_diffusion.host.images import append_to_strip, save_grid
from fedjax_diffusion.host.processes import is_primary
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.runs import records
from fedjax_diffusion.runs.figure import draw_figure
from fedjax_diffusion.runs.quality_log import EVALUATION_COUNTER
from fedjax_diffusion.simulator import SimulationState

STRIP = "samples/strip.png"
_STRIP_IMAGES = 8


def draw_grid(
    experiment: Experiment, state: SimulationState, workdir: Path, progress: Progress
) -> None:
    """Draws a grid of images; with ``sampling.fixed_noise`` also a row of the strip.

    A picture that cannot be written is a warning.
    """
    if not is_primary():
        return
    round, is_fixed = int(state.round), experiment.config.sampling.fixed_noise
    counter = EVALUATION_COUNTER if is_fixed else round
    with progress.watch("drawing images"):
        images = experiment.draw_samples(experiment.run_key, state.ema_params, counter)
    with pictures_may_fail():
        save_grid(records.sample_path(workdir, round), images)
    if is_fixed:
        with pictures_may_fail():
            append_to_strip(workdir / STRIP, images[:_STRIP_IMAGES], round)


def draw_rounds(workdir: Path) -> None:
    """Draws the figure of a run; if that cannot be done, it is a warning."""
    with pictures_may_fail():
        draw_figure(workdir)
