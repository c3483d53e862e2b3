"""Points that train nothing: a folder as a run leaves it, made in no time."""

import dataclasses
import os
from pathlib import Path

from fedjax_diffusion import load_config
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.runs import records
from fedjax_diffusion.runs.metrics_log import MetricsLog
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.folder import grow_sweep
from fedjax_diffusion.sweep.points import expand

OLD = Path(__file__).parents[1] / "old_folders"
CONFIG = to_run_config(load_config("digits"))
QUALITY = {
    "extractor": "classifier",
    "fcd": 12.5,
    "precision": 0.5,
    "recall": 0.25,
    "extractor_fingerprint": "abc",
    "measure_version": 2,
}


def play_stub(task):
    """Leaves a finished run; a summary that is there already is an error."""
    lines = records.read_metrics(OLD / "run")
    task.folder.mkdir(parents=True, exist_ok=True)
    records.write_json(task.folder / records.CONFIG, task.config.to_dict())
    log = MetricsLog(task.folder, 0)
    for line in lines:
        log.append(line)
    log._file.close()
    if not (task.folder / records.SUMMARY).exists():
        write_once(task.folder / records.SUMMARY, records.summarize(lines, 100))
    if task.evaluation is not None:
        data = {"split": task.config.data.split}
        asked = dataclasses.asdict(task.evaluation) | {"data": data}
        records.write_json(task.folder / records.EVALUATION, {"asked": asked, "quality": QUALITY})


def write_once(path, content):
    """Writes a file in one step; raises FileExistsError if it exists."""
    temporary = path.with_name(f".{os.getpid()}")
    records.write_json(temporary, content)
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink()


def make_points(*axes):
    return expand(CONFIG, lambda h: h.product(axes or [h.sweep("seed", range(3))]))


def make_sweep(workdir, *axes):
    return grow_sweep(CONFIG, make_points(*axes), workdir)


seeds = hyper.sweep("seed", range(3))
