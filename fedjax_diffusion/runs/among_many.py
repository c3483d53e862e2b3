"""Play of one run of many: its difference from a single run."""

from collections.abc import Callable
from typing import NamedTuple

from fedjax_diffusion.experiment.build import ProgramChoice
from fedjax_diffusion.experiment.experiment import Experiment


class AmongMany(NamedTuple):
    """Play of one run of many: what is shared, and what is left out. It changes no number.

    Attributes:
      choice: made once for all runs that share a program.
      has_pictures: draw images every ``sampling.every_rounds`` rounds, and the figure. Without:
        images after the last round; ``report`` draws the figure.
      save_seconds: seconds from one checkpoint to the next, instead of
        ``checkpoint.every_rounds``; the last round is always saved. The lines of metrics.jsonl
        are on disk then, too. None: by rounds, and each line is on disk at once.
      join: returns the experiment whose rounds are played together with those of other runs.
    """

    choice: ProgramChoice = ProgramChoice()
    has_pictures: bool = True
    save_seconds: float | None = None
    join: Callable[[Experiment], Experiment] = lambda experiment: experiment


ALONE = AmongMany()
