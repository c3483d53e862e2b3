"""Quality along a run: a few images are measured now and then, one line of quality.jsonl each.

The number of images shifts every distance, so it is part of the names: ``fcd_500``.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.evaluation.quality import (
    DISTANCE_NAMES,
    MEASURE_VERSION,
    make_extractor,
    measure_distances,
    spread,
)
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.experiment.sampling import DrawSamples
from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.processes import is_primary
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.runs.claims import FolderClaim
from fedjax_diffusion.runs.records import shared_folder
from fedjax_diffusion.simulator import SimulationState

QUALITY = "quality.jsonl"
EVALUATION_COUNTER = 0
"""Counter of measured images, for the same noise after any number of rounds; grids count from 1."""


class QualityLog:
    """The file quality.jsonl of a run whose config asks for it.

    A round that has its line is not measured again, also if it is played again after an
    interruption: the same state gives the same images.
    """

    def __init__(self, workdir: Path, experiment: Experiment):
        """Prepares the features, which may take seconds; reads and writes nothing in the folder.

        Of a point the weights are in the sweep's folder, or are stored there.

        Args:
          workdir: the run folder.
          experiment: of the run.

        Raises:
          ValueError: there are no such features.
        """
        self._workdir = workdir
        self._settings = experiment.config.evaluation
        self._draw: DrawSamples | None = None
        if self._settings.every_rounds is not None:
            shared = shared_folder(workdir)
            self._extractor = make_extractor(self._settings, experiment.dataset, shared)

    @functools.cached_property
    def _lines(self) -> list[dict[str, Any]]:
        """All lines; read when the run has its claim, and before this process writes one."""
        return read_quality(self._workdir)

    def is_due(self, round: int, *, is_last: bool) -> bool:
        """Returns whether the state after ``round`` rounds is to be measured."""
        every = self._settings.every_rounds
        if every is None or any(line["round"] == round for line in self._lines):
            return False
        return is_last or round % every == 0

    def measure(
        self,
        experiment: Experiment,
        state: SimulationState,
        claim: FolderClaim,
        progress: Progress,
    ) -> None:
        """Measures a state and writes its line; all processes of the run call it."""
        line: dict[str, Any] = {"round": int(state.round)}
        if is_primary():
            with progress.watch(f"measuring {self._settings.num_samples_along} images"):
                line |= self._measure(experiment, state)
        self._lines.append(line)
        claim.check()
        if is_primary():
            text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in self._lines)
            write_text(self._workdir / QUALITY, text)
            name = name_distance(line)
            progress.tell(f"after {line['round']} rounds: {name} {line[name]:.2f}")

    def _measure(self, experiment: Experiment, state: SimulationState) -> dict[str, Any]:
        """Returns the line of a state without its round."""
        number, config = self._settings.num_samples_along, experiment.config
        if self._draw is None:
            sampling = dataclasses.replace(config.sampling, num_samples=number)
            learner = dataclasses.replace(
                experiment.learner, config=dataclasses.replace(config, sampling=sampling)
            )
            self._draw = learner.make_draw_samples(experiment.compute)
        labels = spread_labels(experiment, number)
        images = self._draw(experiment.run_key, state.ema_params, EVALUATION_COUNTER, labels=labels)

        def measure() -> dict[str, float]:
            features = self._extractor.extract(images)
            return measure_distances(features, experiment.dataset, self._extractor)

        distances = experiment.call_host(measure)
        return {
            **{f"{name}_{number}": value for name, value in distances.items()},
            "num_samples": number,
            "extractor": self._extractor.name,
            "extractor_fingerprint": self._extractor.fingerprint,
            "measure_version": MEASURE_VERSION,
        }


def spread_labels(experiment: Experiment, number: int) -> np.ndarray | None:
    """Returns labels in the proportions of the training images, int [number].

    None for a model without classes.
    """
    if experiment.config.model.num_classes is None:
        return None
    return spread(np.sort(experiment.dataset.labels), number)


def read_quality(workdir: Path) -> list[dict[str, Any]]:
    """Returns the lines of a run folder's quality.jsonl, in order; none if there is no such file.

    Raises:
      ValueError: the file is damaged.
    """
    path = workdir / QUALITY
    if not path.exists():
        return []
    try:
        lines = [dict(json.loads(line)) for line in path.read_text().splitlines()]
        return sorted(lines, key=lambda line: int(line["round"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); restore it, or remove it: later rounds are measured"
        ) from None


def name_distance(line: Mapping[str, Any]) -> str:
    """Returns the name of the Fréchet distance in a line of quality.jsonl.

    >>> name_distance({"fcd_500": 31.25, "extractor": "classifier", "num_samples": 500})
    'fcd_500'
    """
    return f"{DISTANCE_NAMES[line['extractor']][0]}_{line['num_samples']}"
