"""Jobs of submitit and actors of Ray on one sweep, stopped and killed; run as a program.

It starts a Ray of two cores, lets both launchers start two workers each, and draws who is hit:

- notice: SIGUSR2 to a job, as Slurm sends it before a time limit; the job saves and comes back.
- job, actor: SIGKILL to it and its worker, as when a node is lost; Ray starts an actor again, and a
  job is submitted anew.
- worker: SIGKILL to a worker alone, as when memory runs out.

Prints every hit, and at last the number of hits of each kind.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from fedjax_diffusion.host.interruption import Interruption
from fedjax_diffusion.sweep.launchers import slurm
from fedjax_diffusion.sweep.launchers.launch import Launch
from fedjax_diffusion.sweep.listing import read_listing
from fedjax_diffusion.sweep.states import read_states

RAY = """
import ray, sys
print(ray.init(num_cpus=2, include_dashboard=False).address_info["address"], flush=True)
sys.stdin.read()
"""
FLAGS = ["--no_evaluation"]
KINDS = ("notice", "job", "actor", "worker")


def submit(workdir, number):
    """Submits jobs to submitit's executor for one machine, which has no queue."""
    settings = {"timeout_min": 60}
    slurm.launch(Launch(workdir, number, FLAGS, settings, print, Interruption()), "local")


def start_actors(workdir, address):
    command = [sys.executable, "-m", "fedjax_diffusion", "sweep", f"--workdir={workdir}", *FLAGS]
    engine = ["--launcher=ray", "--workers=2", f"--ray.address={address}"]
    subprocess.run([*command, *engine], check=True)


def list_processes():
    """Returns pid -> (parent, command) of all processes."""
    lines = subprocess.check_output(["ps", "-ewwo", "pid=,ppid=,args="], text=True).splitlines()
    fields = [line.split(maxsplit=2) for line in lines]
    return {int(pid): (int(parent), command) for pid, parent, command in fields}


def find_workers(workdir):
    """Returns (worker, parent, is_job) of each worker of a sweep."""
    processes = list_processes()
    return [
        (pid, parent, "submitit" in processes[parent][1])
        for pid, (parent, command) in processes.items()
        if f"--workdir={workdir} --worker" in command and parent in processes and parent > 1
    ]


def hit(kind, workdir, draws):
    """Hits a worker; returns whether there was one of this kind."""
    is_job = {"notice": (True,), "job": (True,), "actor": (False,), "worker": (True, False)}[kind]
    found = [worker for worker in find_workers(workdir) if worker[2] in is_job]
    if not found:
        return False
    worker, parent, _ = draws.choice(found)
    victims = {"notice": [parent], "worker": [worker], "actor": [parent]}.get(kind)
    for victim in victims or [parent, worker]:
        try:
            os.kill(victim, signal.SIGUSR2 if kind == "notice" else signal.SIGKILL)
        except ProcessLookupError:
            return False
    print(f"{time.strftime('%H:%M:%S')} {kind} {worker}", flush=True)
    return True


def count_open(workdir):
    return sum(not state.is_done for state in read_states(read_listing(workdir)))


def play(workdir, address, hits, seed=0):
    """Plays a sweep to its end, with hits all along; returns how many there were of each kind."""
    draws, counts = random.Random(seed), Counter()
    start_actors(workdir, address)
    submit(workdir, 2)
    num_points = count_open(workdir)
    while num_open := count_open(workdir):
        time.sleep(draws.uniform(0.2, 1))
        number = counts.total()
        is_due = num_points - num_open > number * num_points / (hits + 1)
        if number < hits and is_due and hit(KINDS[number % len(KINDS)], workdir, draws):
            counts[KINDS[number % len(KINDS)]] += 1
        jobs = sum(is_job for _, _, is_job in find_workers(workdir))
        if jobs < 2 and "submitit.local._local" not in str(list_processes()):
            submit(workdir, 1)
    return counts


def main(workdir, hits):
    cluster = [sys.executable, "-c", RAY]
    with subprocess.Popen(cluster, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ray:
        address = ray.stdout.readline().decode().strip()
        counts = play(workdir, address, hits)
        ray.stdin.close()
    print(dict(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]))
