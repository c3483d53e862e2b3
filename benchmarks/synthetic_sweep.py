"""Folder of a sweep whose runs trained nothing: their numbers follow formulas."""

import dataclasses
import functools
import json
import random
from pathlib import Path
from typing import Any

from fedjax_diffusion import expand, load_config
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.runs import records
from fedjax_diffusion.sweep.folder import grow_sweep
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.reference import find_reference

BITS = {
    "full_precision": 32,
    **{f"fixed_bits:{bits}": bits for bits in (8, 6, 4, 3, 2, 1)},
    "on_demand": 6,
}
_BASELINES = ("full_precision", "fixed_bits:8")
_NUM_PARAMETERS = 267_009
_NUM_CLIENTS = 8


def make_sweep(workdir: Path, num_points: int, num_rounds: int) -> None:
    """Writes a sweep of methods by deadlines by seeds, all finished and evaluated.

    Args:
      workdir: a new folder.
      num_points: at most; a multiple of 64 is met exactly.
      num_rounds: of each run.
    """
    config = load_config("digits", {"num_rounds": num_rounds})
    num_seeds = 8 if num_points >= 64 else 1
    deadlines = [10.0 + 5 * i for i in range(max(1, num_points // (len(BITS) * num_seeds)))]
    points = expand(
        config,
        lambda h: h.product(
            [
                h.sweep("allocator.method", list(BITS)),
                h.sweep("allocator.time_budget_seconds", deadlines),
                h.sweep("seed", range(num_seeds)),
            ]
        ),
    )
    reference = find_reference(points, f"method-full-precision+*-{deadlines[0]}+*")
    sweep = grow_sweep(to_run_config(config), points, workdir, reference)
    for point, folder in zip(sweep.points, find_folders(sweep), strict=True):
        _write_run(point, folder)


def _write_run(point: Point, folder: Path) -> None:
    draw = random.Random(point.hash)
    folder.mkdir(parents=True)
    records.write_json(folder / records.CONFIG, point.config.to_dict())
    records.write_json(folder / records.ENVIRONMENT, _describe_machine())
    lines = [_make_record(point, round, draw) for round in range(point.config.num_rounds)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / records.METRICS).write_text(text)
    records.write_json(folder / records.SUMMARY, records.summarize(lines, _NUM_PARAMETERS))
    asked = dataclasses.asdict(point.config.evaluation) | {"data": {"name": "digits"}}
    bits = BITS[point.config.allocator.method]
    quality = {
        "extractor": "classifier",
        "fcd": 12.0 + 40.0 / bits**1.5 + draw.gauss(0, 0.6),
        "fcd_floor": 2.2,
        "precision": 0.6 + draw.gauss(0, 0.02),
        "recall": 0.5 + draw.gauss(0, 0.02),
        "extractor_fingerprint": "0123456789abcdef",
        "measure_version": 2,
    }
    records.write_json(folder / records.EVALUATION, {"asked": asked, "quality": quality})


def _make_record(point: Point, round: int, draw: random.Random) -> dict[str, Any]:
    bits = BITS[point.config.allocator.method]
    seconds = point.config.allocator.time_budget_seconds
    spent = {"this_run": bits, "full_precision": 32, "fixed_bits:8": 8}
    compute = {name: 0.05 * (20 / seconds) ** 2 * draw.uniform(0.9, 1.1) for name in spent}
    transmit = {
        name: 0.012 * number * (20 / seconds) ** 0.5 * draw.uniform(0.8, 1.25)
        for name, number in spent.items()
    }
    sent = {name: _NUM_CLIENTS * number * _NUM_PARAMETERS // 8 for name, number in spent.items()}
    whole = {name: compute[name] + transmit[name] for name in spent}
    clients = list(range(_NUM_CLIENTS))
    return {
        "round": round,
        "loss": 0.02 + 0.9 / (round + 1) + 0.05 / bits + draw.gauss(0, 0.002),
        "num_bits": [bits] * _NUM_CLIENTS,
        "cohort": clients,
        "participants": clients,
        "diverged": [],
        "status": ["optimal"] * _NUM_CLIENTS,
        "compute_joules": compute["this_run"],
        "transmit_joules": transmit["this_run"],
        "total_joules": whole["this_run"],
        "baseline_joules": {name: whole[name] for name in _BASELINES},
        "baseline_compute_joules": {name: compute[name] for name in _BASELINES},
        "baseline_transmit_joules": {name: transmit[name] for name in _BASELINES},
        "baseline_uplink_bytes": {name: sent[name] for name in _BASELINES},
        "baseline_late": dict.fromkeys(_BASELINES, 0),
        "on_time_joules": whole,
        "on_time_clients": _NUM_CLIENTS,
        "uplink_bytes": sent["this_run"],
        "planned_uplink_bytes": sent["this_run"],
        "downlink_bytes": sent["full_precision"],
        "full_precision_bytes": sent["full_precision"],
        "quantization_error": 1e-3 / 4**bits * draw.uniform(0.5, 1.5),
        "quantization_error_bound": 2e-3 / 4**bits,
        "error_budget": 2e-3 / 4**6,
        "predicted_error": 2e-3 / 4**bits,
        "relative_gap": draw.uniform(0, 1e-4),
        "update_squared_norm": 0.01,
        "wall_seconds": 0.2,
    }


@functools.cache
def _describe_machine() -> dict[str, Any]:
    config = load_config("digits", {"compute.cpu_devices": "2"})
    return {
        "fedjax_diffusion": "synthetic",
        "git_commit": None,
        "python": "3.11",
        "jax": "0.10.2",
        "platform": "cpu",
        "device": "cpu",
        "data": {"name": "digits", "num_examples": 1497},
        "compute": dataclasses.asdict(to_run_config(config).compute),
    }
