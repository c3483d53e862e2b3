"""Console output of a run: the setting, a progress bar, and the final table."""

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import jax
from tqdm import tqdm

from fedjax_diffusion.data import describe_partition
from fedjax_diffusion.edge import FleetRow, describe_fleet
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.host.tables import format_span, format_table
from fedjax_diffusion.runs.runner import RunResult
from fedjax_diffusion.runs.text import format_loss, format_paths, format_summary


class RunDisplay(Progress):
    """Display of a run: a bar on a terminal, elsewhere one line per round."""

    def __init__(self, num_rounds: int, stream: TextIO | None = None):
        self._stream = stream or sys.stdout
        self._num_rounds = num_rounds
        self._bar: tqdm | None = None

    def __enter__(self) -> "RunDisplay":
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()

    def start(self, experiment: Experiment, first_round: int) -> None:
        """Prints the setting."""
        self.tell(describe_experiment(experiment))
        if first_round:
            self.tell(f"resuming at round {first_round}")

    @contextlib.contextmanager
    def watch(self, text: str) -> Iterator[None]:
        """Shows a running task and its duration."""
        if self._bar is None:
            with show_seconds(text, self._stream):
                yield
        else:  # the bar counts the seconds
            self._bar.set_description(text)
            yield
            self._bar.set_description()

    def advance(self, record: dict) -> None:
        """Shows one round."""
        loss = format_loss(record["loss"])
        bits = " ".join(str(b) for b in record["num_bits"][:16])
        bits += " ..." if len(record["num_bits"]) > 16 else ""
        if self._bar is None and self._stream.isatty():
            done = record["round"]
            self._bar = tqdm(total=self._num_rounds, initial=done, unit="round", file=self._stream)
        if record["diverged"]:
            self.tell(f"round {record['round']}: clients {record['diverged']} diverged, left out")
        if record["step_refused"]:
            self.tell(f"round {record['round']}: the server's step was not finite; model kept")
        cost = f"{record['total_joules']:.3g} J  {record['uplink_bytes'] / 1e6:.3g} MB"
        facts = f"loss {loss}  bits {bits}  {cost}"
        if self._bar is None:
            number = f"round {record['round'] + 1:4d}/{self._num_rounds}"
            self.tell(f"{number}  {facts}  {record['wall_seconds']:.1f} s")
            return
        self._bar.set_postfix_str(facts)
        self._bar.update()

    def finish(self, result: RunResult) -> None:
        """Prints the table and the paths of the results."""
        if self._bar is not None:
            self._bar.close()
        if not result.is_new:
            self.tell(f"{result.workdir} is already finished; nothing was done")
        self.tell(format_summary(result.summary))
        self.tell(format_paths(result.workdir))

    def tell(self, text: str) -> None:
        """Prints a line that stays."""
        if self._bar is None:
            print(text, file=self._stream, flush=True)
        else:
            self._bar.write(text, file=self._stream)


def track_with(unit: str) -> Callable[[Any], Any]:
    """Returns a wrapper of a loop that shows its progress as a bar, on a terminal only."""
    return functools.partial(tqdm, unit=unit, disable=None)


@contextlib.contextmanager
def show_seconds(text: str, stream: TextIO, period_seconds: float | None = None) -> Iterator[None]:
    """Shows a running task and its duration on a stream until the block ends.

    On a terminal one line counts the seconds; elsewhere a line is printed now and then.
    """
    is_terminal, start, is_over = stream.isatty(), time.perf_counter(), threading.Event()

    def show(end: str) -> None:
        seconds = time.perf_counter() - start
        print(f"{text} ... {seconds:.0f} s", end=end, file=stream, flush=True)

    def count() -> None:
        period = period_seconds or (1.0 if is_terminal else 15.0)
        while not is_over.wait(period):
            show("\r" if is_terminal else "\n")

    if not is_terminal:
        print(f"{text} ...", file=stream, flush=True)
    counter = threading.Thread(target=count, daemon=True)
    counter.start()
    try:
        yield
    finally:
        is_over.set()
        counter.join()
        if is_terminal:
            show("\n")


class LoopDisplay(Progress):
    """Display of a loop of long steps: a bar with the current task, on a terminal only."""

    def __init__(self, unit: str):
        self._unit = unit
        self._bar: tqdm | None = None

    def track(self, steps: Sequence[Any]) -> Iterator[Any]:
        """Yields the steps."""
        with tqdm(steps, unit=self._unit, disable=None) as self._bar:
            yield from self._bar

    def tell(self, text: str) -> None:
        """Shows the progress of a step."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    @contextlib.contextmanager
    def watch(self, text: str) -> Iterator[None]:
        """Shows the current task of a step."""
        self.tell(text)
        yield

    def print(self, text: str) -> None:
        """Prints a line that stays."""
        tqdm.write(text)
        sys.stdout.flush()


@contextlib.contextmanager
def count_up(unit: str) -> Iterator[Callable[[int], object]]:
    """Yields a function of the number done so far that updates a bar, on a terminal only."""
    with tqdm(unit=unit, disable=None) as bar:
        yield lambda number: bar.update(number - bar.n)


def describe_experiment(experiment: Experiment) -> str:
    """Returns data, clients, model and machine of an experiment as a few lines of text."""
    dataset, parts, config = experiment.dataset, experiment.parts, experiment.config
    facts = describe_partition(dataset.labels, parts)
    height, width, channels = dataset.images.shape[1:]
    cohort = config.cohort_size or len(parts)
    fleet = [_fleet_row_to_cells(row) for row in describe_fleet(experiment.devices)]
    lines = [
        f"data     {dataset.name}: {len(dataset.labels)} images of {height}x{width}x{channels}",
        f"clients  {len(parts)}, {cohort} per round; {config.partition.name}: "
        f"{facts['examples_min']} to {facts['examples_max']} images and "
        f"{facts['classes_min']} to {facts['classes_max']} of "
        f"{dataset.num_classes} classes each",
        f"model    {experiment.workload.num_parameters:,} parameters; clients send "
        f"{'the change of the model' if config.federated.mode == 'update' else 'the model'}",
        f"machine  {_describe_devices(experiment)}, {experiment.compute.describe()}",
        f"round    deadline {config.allocator.time_budget_seconds:g} s, "
        f"allocator {config.allocator.method}",
        "",
        format_table(fleet),
        "",
    ]
    return "\n".join(lines)


def _describe_devices(experiment: Experiment) -> str:
    """Returns the number and the kind of the devices that train."""
    number, kind = int(experiment.compute.cpu_devices), jax.devices()[0].device_kind
    return f"{number} device{'s' * (number > 1)} ({kind})"


def _fleet_row_to_cells(row: FleetRow) -> dict[str, str | int]:
    def span(values: tuple[float, float]) -> str:
        return format_span(*values, ".0f", "-")

    return {
        "device": row.name,
        "clients": row.num_clients,
        "GHz": f"{row.max_frequency_ghz:.1f}",
        "transmit W": f"{row.max_power_watts:.2f}",
        "bits demanded": span(row.min_bits),
        "bits at most": span(row.max_bits),
        "distance m": span(row.distance_meters),
    }
