"""Both clusters at once on one sweep, with real workers; by name, where both extras are there."""

import importlib.util
import re
import subprocess
import sys

import pytest

from fedjax_diffusion.sweep.folder import grow_sweep
from fedjax_diffusion.sweep.index import read_sweep
from fedjax_diffusion.sweep.points import expand
from tests.sweep.launchers import both_clusters
from tests.tiny import tiny_config

NUM_POINTS = 12
NUM_HITS = 4
MAY_DIFFER = {"host", "device", "wall_seconds"}
EXTRAS = ("submitit", "ray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, EXTRAS)), reason="pip install '.[slurm,ray]'"
    ),
]


def test_jobs_and_actors_that_are_hit_leave_the_sweep_of_one_worker(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # it would leave a token in the user's folder
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    config = tiny_config()
    points = expand(config, lambda h: h.sweep("seed", range(NUM_POINTS)))
    alone, together = tmp_path / "alone", tmp_path / "together"
    for workdir in (alone, together):
        grow_sweep(config, points, workdir)
    worker = ["-m", "fedjax_diffusion", "sweep", f"--workdir={alone}", "--worker"]
    subprocess.run([sys.executable, *worker, "--no_evaluation"], check=True)
    program = [both_clusters.__file__, str(together), str(NUM_HITS)]
    out = subprocess.check_output([sys.executable, *program], text=True)
    hits = dict.fromkeys(both_clusters.KINDS, NUM_HITS // len(both_clusters.KINDS))
    assert out.splitlines()[-1] == str(hits)
    tables = [read_sweep(workdir) for workdir in (alone, together)]
    assert set(tables[0]["status"].to_pylist()) == {"finished"}
    left = [table.drop_columns([*MAY_DIFFER & {*table.column_names}]) for table in tables]
    assert left[0].equals(left[1])
    logs = [path.name for path in (together / "logs").glob("*.log")]
    assert any(re.fullmatch(r"local-\d+\.log", name) for name in logs)
    assert any(re.fullmatch(r"ray-together-\w+-[12]\.log", name) for name in logs)
