"""Folders that a report can be made of, whose runs train nothing."""

import json

from fedjax_diffusion.runs import records
from fedjax_diffusion.study import TABLE, Point, Study, StudyRow
from fedjax_diffusion.study.folder import to_csv
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.listing import SWEEP
from fedjax_diffusion.sweep.runner import play_sweep
from tests.sweep.stubs import CONFIG, make_sweep, play_stub

METHODS = ("full_precision", "fixed_bits:8")
HOSTILE = "<script>alert(1)</script>"


def make_played_sweep(workdir, *axes, num_seeds=3):
    """Plays methods by seeds."""
    axes = axes or [
        hyper.sweep("allocator.method", METHODS),
        hyper.sweep("seed", range(num_seeds)),
    ]
    make_sweep(workdir, *axes)
    play_sweep(workdir, play=play_stub)
    return workdir


def rename_point(workdir, number, label):
    """Gives a point of a sweep another label, as somebody else's file may have it."""
    path = workdir / SWEEP
    content = json.loads(path.read_text())
    content["points"][number]["label"] = label
    path.write_text(json.dumps(content))


def write_study(workdir):
    """Writes the folder of a study whose rows follow a formula, and returns the study."""
    methods = ("on_demand", "full_precision", "full_precision:max_frequency", "fixed_bits:1")
    places = [("setting", 20.0, None), ("time_budget", 10.0, None), ("time_budget", 20.0, None)]
    places += [("distance", 20.0, 100.0), ("distance", 20.0, 300.0)]
    places += [("region", t, d) for d in (100.0, 300.0) for t in (10.0, 20.0)]
    points = [
        Point(*place, [_make_row(name, i + 1.0) for i, name in enumerate(methods)])
        for place in places
    ]
    summary = {
        "method": "on_demand",
        "num_clients": 6,
        "clients_per_round": 6,
        "num_parameters": 1000,
        "compute_cycles": [1e9, 2e9],
        "bandwidth_hz": [1e5, 1e5],
        "time_budget_seconds": 20.0,
        "error_budget_as_fixed_bits": 6,
        "rounds": 2,
        "goals": [{"percent": 50.0}, {"percent": 90.0}],
    }
    workdir.mkdir(parents=True)
    (workdir / TABLE).write_text(to_csv(points))
    records.write_json(workdir / records.SUMMARY, summary)
    records.write_json(workdir / records.CONFIG, CONFIG.to_dict())
    return Study(workdir, points, summary)


def _make_row(method, joules):
    """Returns the row of a method; full precision spends the most."""
    numbers = dict.fromkeys(StudyRow._fields, joules)
    counts = {"rounds": 2, "client_rounds": 12, "infeasible": 0, "late": 0}
    counts["on_time_client_rounds"] = 12
    saved = {"saved_percent_full_precision": 60.0, "relative_gap_max": joules / 1000}
    return StudyRow(**numbers | counts | saved | {"method": method})
