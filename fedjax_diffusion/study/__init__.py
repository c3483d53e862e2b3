"""Study of the paper without training: energy of methods over deadlines and distances."""

from fedjax_diffusion.experiment.study_config import StudyConfig
from fedjax_diffusion.study.energy import StudyRow, compare
from fedjax_diffusion.study.folder import (
    FIGURES,
    TABLE,
    Study,
    build_study,
    format_paths,
    read_study,
    run_study,
)
from fedjax_diffusion.study.points import FLOOR, Point, play_points
from fedjax_diffusion.study.region import Cell, Goal, find_goal, to_cells
from fedjax_diffusion.study.report import format_study

__all__ = [
    "FIGURES",
    "FLOOR",
    "TABLE",
    "Cell",
    "Goal",
    "Point",
    "Study",
    "StudyConfig",
    "StudyRow",
    "build_study",
    "compare",
    "find_goal",
    "format_paths",
    "format_study",
    "play_points",
    "read_study",
    "run_study",
    "to_cells",
]
