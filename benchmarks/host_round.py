"""Time of the host's part of a round, beside the compiled step, by part.

python -m benchmarks.host_round [--output=benchmarks/host_round.json] [--rounds=200]

The default config (digits, 8 clients, 5 baselines) with a tiny network and one local step. The host
waits for the step at once, so no other part waits for it. Medians over the rounds.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from fedjax_diffusion import load_config
from fedjax_diffusion.experiment.build import build
from fedjax_diffusion.experiment.compute import describe_machine
from fedjax_diffusion.planning import planner
from fedjax_diffusion.runs import rounds
from fedjax_diffusion.runs.metrics_log import MetricsLog

OVERRIDES: dict[str, Any] = {
    "diffusion.num_steps": 10,
    "model.channels": 4,
    "model.channel_multipliers": (1,),
    "local_work.batch_size": 4,
    "local_work.local_steps": 1,
    "sampling.num_steps": 2,
}
WARMUP_ROUNDS = 10
WAIT = "step: wait for the devices"


class Times:
    """Milliseconds by part, one number per round."""

    def __init__(self):
        self._now: dict[str, float] = {}
        self._rounds: list[dict[str, float]] = []

    def measure(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function whose time is added to a part."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return fn(*args, **kwargs)
            finally:
                self._now[name] = self._now.get(name, 0.0) + 1e3 * (time.perf_counter() - start)

        return timed

    def end_round(self, milliseconds: float) -> None:
        """Ends a round of this length; the time of no part is its last part."""
        self._now["rest"] = milliseconds - sum(self._now.values())
        self._rounds.append(self._now)
        self._now = {}

    def medians(self) -> dict[str, float]:
        """Returns the median of each part; what is drawn once in 64 rounds is not in it."""
        kept = self._rounds[WARMUP_ROUNDS:]
        return {name: statistics.median(r.get(name, 0.0) for r in kept) for name in kept[0]}


def measure_parts(num_rounds: int, is_synced: bool) -> dict[str, float]:
    """Returns the milliseconds of each part of a round."""
    experiment = build(load_config("digits", OVERRIDES | {"num_rounds": num_rounds}))
    times = Times()
    step = times.measure("step: inputs and dispatch", experiment.simulator.step)
    wait = times.measure(WAIT, jax.block_until_ready)
    experiment = experiment._replace(
        draw_conditions=times.measure("cohort and channel", experiment.draw_conditions),
        load_cohort=times.measure("data of the cohort", experiment.load_cohort),
        plan=times.measure("plan: problem and allocation", experiment.plan),
        count_traffic=times.measure("bytes of the messages", experiment.count_traffic),
        simulator=experiment.simulator._replace(step=lambda *args: wait(step(*args))),
    )
    charge, record = planner.charge_baselines, rounds.make_record
    planner.charge_baselines = times.measure("baselines", charge)
    rounds.make_record = times.measure("record", record)
    state = experiment.simulator.init(experiment.run_key, experiment.data)
    prepared = None
    with (
        tempfile.TemporaryDirectory() as workdir,
        MetricsLog(Path(workdir), 0, is_synced=is_synced) as log,
    ):
        log.append = times.measure("metrics.jsonl: one line", log.append)
        for _ in range(num_rounds):
            start = time.perf_counter()
            state, prepared = rounds.play_round(
                experiment, state, prepared, log=log, on_record=None
            )
            times.end_round(1e3 * (time.perf_counter() - start))
    planner.charge_baselines, rounds.make_record = charge, record
    return times.medians()


def measure_host(num_rounds: int, is_synced: bool) -> dict[str, Any]:
    """Returns the milliseconds of each part, and those of the host together."""
    parts = measure_parts(num_rounds, is_synced)
    host = sum(ms for name, ms in parts.items() if name != WAIT)
    return {"milliseconds": parts, "host_milliseconds": host}


def main() -> None:
    """Prints and writes the times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", default="benchmarks/host_round.json")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "rounds": arguments.rounds,
        "run": measure_host(arguments.rounds, is_synced=True),
        "point_of_a_sweep": measure_host(arguments.rounds, is_synced=False),
    }
    print(json.dumps(result, indent=2))
    Path(arguments.output).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
