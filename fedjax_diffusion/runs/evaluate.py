"""Quality of a run's images, or of a folder of PNGs, against a data set."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fedjax_diffusion.data import ImageDataset, load_images
from fedjax_diffusion.data.report import identify
from fedjax_diffusion.evaluation import MIN_SAMPLES, make_inception_extractor
from fedjax_diffusion.evaluation.quality import (
    MEASURE_VERSION,
    EvaluationConfig,
    make_extractor,
    measure_quality,
)
from fedjax_diffusion.experiment.config import GivenConfig, to_run_config, with_overrides
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.file_errors import explain_file_errors
from fedjax_diffusion.host.image_files import open_image
from fedjax_diffusion.host.platforms import check_precision, cpu_device
from fedjax_diffusion.runs.among_many import ALONE
from fedjax_diffusion.runs.folder import read_config
from fedjax_diffusion.runs.load import load_run
from fedjax_diffusion.runs.quality_log import EVALUATION_COUNTER, spread_labels
from fedjax_diffusion.runs.records import (
    EVALUATION,
    read_evaluation,
    shared_folder,
    write_json,
)


def evaluate(
    workdir: str | Path,
    evaluation: dict | None = None,
    *,
    on_progress: Callable[[int], object] | None = None,
    data_dir: str | None = None,
    join: Callable[[Experiment], Experiment] = ALONE.join,
) -> dict[str, Any]:
    """Draws images from the newest checkpoint of a run and returns their quality.

    The images come from the averaged model (EMA), by the sampler of the run's config. A model with
    classes draws them in the proportions of the training images. Runs of one seed use the same
    noise for any number of rounds. The result is kept in ``evaluation.json``; a call with the same
    checkpoint and settings reads it from there. A point of a sweep or comparison is measured with
    the classifier that lies in the sweep's folder, or with this machine's, which is stored there.

    Args:
      workdir: a run folder.
      evaluation: changed settings of ``EvaluationConfig``.
      on_progress: called now and then with the number of images drawn so far.
      data_dir: another place of the run's data, which must be the same; None: as the run has it.
      join: as in ``AmongMany``.

    Raises:
      ValueError: the folder holds no run with a checkpoint, a setting is invalid, or a file cannot
        be read or written.

    Guarantees:
      The same run, settings and machine give the same numbers.
    """
    workdir = Path(workdir)
    with explain_file_errors(workdir):
        return _evaluate(workdir, evaluation or {}, on_progress, data_dir, join)


def _evaluate(
    workdir: Path,
    evaluation: dict,
    on_progress: Callable[[int], object] | None,
    data_dir: str | None,
    join: Callable[[Experiment], Experiment],
) -> dict[str, Any]:
    changed = {f"evaluation.{name}": value for name, value in evaluation.items()}
    if data_dir is not None:
        changed["data.data_dir"] = data_dir
    config = with_overrides(read_config(workdir), changed)
    settings = config.evaluation
    held_out = load_held_out(config)
    experiment, state = load_run(workdir, {"num_samples": settings.num_samples}, data_dir)
    asked = {"round": int(state.round), **_describe_sampling(experiment.config)}
    extractor = make_extractor(settings, experiment.dataset, shared_folder(workdir))
    asked |= {
        "extractor_fingerprint": extractor.fingerprint,
        "measure_version": MEASURE_VERSION,
        "data": identify(experiment.dataset),
        **settings.describe_final(),
    }
    kept = read_evaluation(workdir)
    if kept and kept["asked"] == asked:
        return kept["quality"]
    labels = spread_labels(experiment, settings.num_samples)
    params = jax.device_get(state.ema_params)
    del state  # runs that are drawn together would all have theirs on the devices
    experiment = join(experiment)
    images = experiment.draw_samples(
        experiment.run_key, params, EVALUATION_COUNTER, on_progress, labels
    )
    measure = functools.partial(
        measure_quality, images, experiment.dataset, held_out, extractor, labels
    )
    quality = experiment.call_host(measure)
    quality |= {"round": asked["round"], **_describe_sampling(experiment.config)}
    write_json(workdir / EVALUATION, {"asked": asked, "quality": quality})
    return quality


def evaluate_folder(folder: str | Path, config: GivenConfig) -> dict[str, Any]:
    """Returns the quality of the PNGs of a folder against the data of a config.

    Args:
      folder: a folder of ``*.png`` files, one image each, of the data set's image size.
      config: from ``load_config``, or a ``RunConfig``; only ``data`` and ``evaluation`` matter.

    Raises:
      ValueError: there are too few PNGs, or one does not match the data set's images.
    """
    check_precision()
    cpu_device()  # a missing platform is reported first
    config = to_run_config(config)
    dataset = load_images(**vars(config.data))
    images = read_pngs(Path(folder), dataset.images.shape[1:])
    extractor = make_extractor(config.evaluation, dataset)
    return measure_quality(images, dataset, load_held_out(config), extractor)


def read_pngs(folder: Path, image_shape: tuple[int, ...]) -> np.ndarray:
    """Returns the PNGs of a folder in the order of their names, uint8 [N, H, W, C].

    Raises:
      ValueError: there is no such folder, it holds fewer than ``MIN_SAMPLES``, or a file cannot be
        read, has another size, more than 8 bits per channel, or transparent pixels.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png")
    if len(paths) < MIN_SAMPLES:
        raise ValueError(
            f"{folder} must hold {MIN_SAMPLES} or more .png files, it has {len(paths)}"
        )
    height, width, channels = image_shape
    images = np.empty((len(paths), *image_shape), np.uint8)
    for i, path in enumerate(paths):
        try:
            images[i] = _read_png(path, height, width, channels)
        except ValueError as error:
            raise ValueError(f"{path} is not an image that can be taken: {error}") from None
    return images


def _read_png(path: Path, height: int, width: int, channels: int) -> np.ndarray:
    """Returns uint8 [H, W, C]; size and depth are looked at before the pixels are decoded."""
    with open_image(path, ("PNG",)) as image:
        if image.size != (width, height):
            raise ValueError(
                f"it must be {height}x{width} as in the data set, it is "
                f"{image.height}x{image.width}"
            )
        if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise ValueError("it must have no transparent pixels")
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(height, width, channels)


def check_evaluation(config: RunConfig) -> None:
    """Raises in advance the ValueError of ``evaluate`` for a run of this config; trains nothing."""
    load_held_out(config)
    load_images(**vars(config.data))
    _check_weights(config)


def check_own_files(config: RunConfig) -> None:
    """Raises in advance the ValueError of ``evaluate`` for what a config names itself.

    That are weights, and another held-out split than the default one, which data may lack.
    """
    _check_weights(config)
    if config.evaluation.held_out_split != EvaluationConfig.held_out_split:
        load_held_out(config)


def _check_weights(config: RunConfig) -> None:
    if config.evaluation.inception_weights is not None:
        make_inception_extractor(config.evaluation.inception_weights)


def load_held_out(config: RunConfig) -> ImageDataset | None:
    """Returns the held-out real images, or None if the config asks for none."""
    split = config.evaluation.held_out_split
    if split is None:
        return None
    try:
        return load_images(**vars(dataclasses.replace(config.data, split=split)))
    except ValueError as error:
        raise ValueError(f"evaluation.held_out_split: {error}") from None


def _describe_sampling(config: RunConfig) -> dict[str, Any]:
    """Returns the settings of the sampler, without the number of images."""
    apart = ("every_rounds", "num_samples")
    sampling = config.to_dict()["sampling"]
    return {name: value for name, value in sampling.items() if name not in apart}
