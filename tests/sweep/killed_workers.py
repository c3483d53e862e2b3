"""Two workers on one sweep, killed again and again; run as a program, which prints the kills.

Its arguments are the folder, the number of points and that of kills.

One process imports JAX and does not start it, and the workers are its forks.
"""

import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.runner import play_sweep
from tests.sweep.stubs import make_sweep, play_stub

OPTIONS = PlayOptions(is_evaluating=False)


def play_slowly(task):
    if (task.folder / "summary.json").exists():
        raise FileExistsError(f"{task.label} is played after its end")
    time.sleep(0.03)
    play_stub(task)
    time.sleep(0.01)


def start(workdir):
    pid = os.fork()
    if not pid:
        try:
            play_sweep(workdir, OPTIONS, play=play_slowly)
        finally:
            os._exit(0)
    return pid


def main(workdir, num_points, num_kills):
    draws = random.Random(0)
    make_sweep(workdir, hyper.sweep("seed", range(num_points)))
    workers = [start(workdir), start(workdir)]
    kills = 0
    for _ in range(num_kills):
        time.sleep(draws.uniform(0.05, 0.2))
        victim = workers.pop(0)
        os.kill(victim, signal.SIGKILL)
        _, status = os.waitpid(victim, 0)
        kills += os.WIFSIGNALED(status)
        workers.append(start(workdir))
    for worker in workers:
        os.waitpid(worker, 0)
    print(kills)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
