"""A bar over the rounds of a run in a notebook."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from fedjax_diffusion.host.progress import SILENT, Progress
from fedjax_diffusion.runs.rounds import OnRecord
from fedjax_diffusion.runs.text import format_loss


class ProgressBar(Progress):
    """A bar of tqdm with the current task, the loss and the energy of the last round."""

    def __init__(self, bar: Any):
        """Takes a bar over rounds that has not begun."""
        self._bar = bar

    def tell(self, text: str) -> None:
        """Prints a line that stays."""
        self._bar.write(text)

    @contextlib.contextmanager
    def watch(self, text: str) -> Iterator[None]:
        """Shows the current task before the bar."""
        self._bar.set_description(text)
        yield
        self._bar.set_description()

    def count(self, record: dict) -> None:
        """Shows one round, by its line of metrics.jsonl."""
        facts = f"loss {format_loss(record['loss'])}  {record['total_joules']:.3g} J"
        self._bar.set_postfix_str(facts, refresh=False)
        self._bar.update(record["round"] + 1 - self._bar.n)


@contextlib.contextmanager
def show_rounds(progress: Progress | None, num_rounds: int) -> Iterator[tuple[Progress, OnRecord]]:
    """Yields a display of a run, and the callback by which it counts rounds.

    Args:
      progress: a display that counts by itself; None: a bar in a notebook, elsewhere a silent one.
      num_rounds: of the run.
    """
    if progress is not None or not is_notebook():
        yield progress or SILENT, lambda record: None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets it is a bar of text, and tqdm says so
        from tqdm.auto import tqdm
    with tqdm(total=num_rounds, unit="round") as bar:
        shown = ProgressBar(bar)
        yield shown, shown.count


def is_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and "IPKernelApp" in shell.config
