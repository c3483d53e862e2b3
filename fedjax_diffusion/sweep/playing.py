"""Play of groups of points: one point after the other, or side by side in lanes."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jax

from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.host.interruption import Interruption
from fedjax_diffusion.host.platforms import is_out_of_memory
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.host.turns import Ask, take_turns
from fedjax_diffusion.sweep.folder import Sweep
from fedjax_diffusion.sweep.lanes import Lanes, explain
from fedjax_diffusion.sweep.packing import Group
from fedjax_diffusion.sweep.play import PlayOptions, PlayPoint, Task, play_claimed
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.programs import GroupChoices
from fedjax_diffusion.sweep.states import PointState

OnPoint: TypeAlias = Callable[[Point, PointState], Any]
"""Callback after each point."""


class Playing:
    """The play of a sweep by one process.

    Attributes:
      tried: the state of each point that was played to its end or failed, by hash.
      num_lanes: of the last group; 1: it was played point by point.
    """

    def __init__(
        self,
        sweep: Sweep,
        options: PlayOptions,
        play: PlayPoint,
        on_point: OnPoint | None,
        progress: Progress,
        interruption: Interruption,
    ):
        """Takes the arguments of ``play_sweep``."""
        self.tried: dict[str, PointState] = {}
        self.num_lanes = 1
        self._num_begun = 0
        self._sweep, self._options, self._play = sweep, options, play
        self._on_point, self._progress, self._interruption = on_point, progress, interruption

    def is_over(self) -> bool:
        """Returns whether no other point is to be begun."""
        failed = any(state.status == "failed" for state in self.tried.values())
        is_enough = len(self.tried) + self._num_begun == self._options.limit
        return (failed and self._options.is_failing_fast) or is_enough

    def play_group(self, group: Group, points: Iterator[Point]) -> None:
        """Plays the points of a group that are open and free.

        Args:
          group: of points.
          points: its points, each to be taken once.
        """
        if group.lanes is None:
            self.num_lanes = 1
            self._play_all(points, GroupChoices(self._sweep, self._interruption), self._play)
            return
        self.num_lanes = group.lanes.num_lanes
        choices = GroupChoices(self._sweep, self._interruption, is_on_one_device=True)
        chosen = choices.find(group.points[0].config, self._progress)
        what = f"{self.num_lanes} lanes: rounds of as many points in one program"
        self._progress.tell(what)

        def play_lane(ask: Ask) -> None:
            def join(experiment: Experiment) -> Experiment:
                """Returns it as it is if the run was begun with other compute settings."""
                is_ours = experiment.compute == chosen.compute
                return lanes.join(experiment, ask) if is_ours else experiment

            def play(task: Task) -> None:
                try:
                    self._play(task._replace(join=join))
                except jax.errors.JaxRuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    raise explain(error, self.num_lanes) from error

            self._play_all(points, choices, play)

        with Lanes(group.lanes) as lanes:
            take_turns([play_lane] * self.num_lanes, lanes.answer)

    def _play_all(self, points: Iterator[Point], choices: GroupChoices, play: PlayPoint) -> None:
        """Plays points until there are none; of several callers in turns each takes others."""
        while not self.is_over() and (point := next(points, None)) is not None:
            self._interruption.check(f"{self._sweep.workdir}: finished points are kept")
            self._num_begun += 1
            try:
                state = play_claimed(
                    self._sweep,
                    point,
                    self._options,
                    choices,
                    play,
                    self._progress,
                    self._interruption,
                )
            finally:
                self._num_begun -= 1
            if state is not None:
                self.tried[point.hash] = state
                if self._on_point is not None:
                    self._on_point(point, state)
