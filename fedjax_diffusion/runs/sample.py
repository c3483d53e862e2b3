"""Images drawn from the trained model of a run."""

from pathlib import Path
from typing import Any

from fedjax_diffusion.host.file_errors import explain_file_errors
from fedjax_diffusion.host.images import save_grid, save_images
from fedjax_diffusion.host.outputs import check_output, is_own_picture
from fedjax_diffusion.keys import Seed, seed_to_key
from fedjax_diffusion.runs.folder import read_config
from fedjax_diffusion.runs.load import load_sampler
from fedjax_diffusion.values import check_value

_OTHER_PICTURES = {".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".pdf", ".svg"}
"""Endings of files that are meant as a picture; a folder of this name surprises."""


def sample(
    workdir: str | Path,
    *,
    num_samples: int = 64,
    sampler: str | None = None,
    num_steps: int | None = None,
    eta: float | None = None,
    guidance_scale: float | None = None,
    seed: int = 0,
    output: str | Path | None = None,
    data_dir: str | None = None,
) -> Path:
    """Draws images from the newest checkpoint of a run and returns the path of the saved images.

    The run's data need not be there, except for a run of an earlier version.

    Args:
      workdir: a run folder.
      num_samples: number of images, >= 1.
      sampler: ``"ddim"`` or ``"ancestral"``; None: the run's, with its settings.
      num_steps: of ``ddim``, in 1..T; None: the run's, or all T for another sampler than the run's.
      eta: of ``ddim``, in [0, 1]; None: the run's, or 0 for another sampler than the run's.
      guidance_scale: for a run with classes, >= 0; None: the run's.
      seed: in 0..2^32 - 1, seed of the images.
      output: a ``.png`` for a grid of all images, or a folder for one PNG per image; None: the grid
        ``workdir/samples/sample_SEED.png``.
      data_dir: another place of the run's data; None: as the run has it.

    Raises:
      ValueError: the folder holds no run with a checkpoint, an argument is out of range, the output
        is a picture of another kind than PNG, its folder is not empty, or its file is not one that
        this function made.
    """
    check_value("seed", seed, Seed)
    path = Path(output or Path(workdir) / "samples" / f"sample_{seed}.png")
    is_grid = path.suffix.lower() == ".png"
    if path.suffix.lower() in _OTHER_PICTURES:
        raise ValueError(f"{path} must end in .png, or be a folder for one .png per image")
    if not is_grid and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"{path} must be a .png file, or a new or empty folder")
    if output is not None and (is_grid or not path.is_dir()):
        check_output(path, is_own_picture)
    changed: dict[str, Any] = {"num_samples": num_samples}
    if sampler not in (None, read_config(Path(workdir)).sampling.sampler):
        changed |= {"num_steps": None, "eta": 0.0}
    given = {"sampler": sampler, "num_steps": num_steps, "eta": eta}
    given["guidance_scale"] = guidance_scale
    changed |= {name: value for name, value in given.items() if value is not None}
    draw_samples, state = load_sampler(workdir, changed, data_dir)
    images = draw_samples(seed_to_key(seed), state.ema_params, int(state.round))
    with explain_file_errors(path):
        (save_grid if is_grid else save_images)(path, images)
    return path
