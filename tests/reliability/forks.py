"""Commands as forks of a process that has imported JAX and not started it; run as a program.

A start takes no seconds of imports. Its argument is JSON, and it prints JSON::

    {"play": "kill", "command": [...], "seed": 0, "seconds": 9, "times": 10}
    {"play": "race", "command": [...], "seed": 0, "processes": 3}
    {"play": "fill", "command": [...], "bytes": 4096}
"""

import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from fedjax_diffusion.cli import compare, console, sweep  # noqa: F401  # what a command imports
from fedjax_diffusion.cli.main import main

ENDING = (signal.SIGKILL, signal.SIGTERM)


class Fork:
    """A process that plays a command, with its stderr in a file."""

    def __init__(self, command, max_bytes=resource.RLIM_INFINITY):
        self._error = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long
        self.pid = os.fork()
        if not self.pid:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(self._error.fileno(), 2)
            code = 1
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
                code = main(command)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stderr.flush()
                os._exit(code)

    def wait(self, seconds=None):
        """Returns the exit code, of a killed one the negative signal; None after some seconds."""
        end = time.monotonic() + (seconds or 0)
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG if seconds is not None else 0)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                return None
            time.sleep(0.02)

    def read_error(self):
        self._error.seek(0)
        return self._error.read().decode()


def kill(command, seed, seconds, times):
    """Starts a command again and again, and ends it at random moments of its time."""
    chance, exit_codes, errors = random.Random(seed), [], []
    for _ in range(times):
        fork = Fork(command)
        code = fork.wait(chance.uniform(0.0, seconds))
        if code is None:
            os.kill(fork.pid, chance.choice(ENDING))
            code = fork.wait()
        exit_codes.append(code)
        errors.append(fork.read_error())
    fork = Fork(command)
    exit_codes.append(fork.wait())
    errors.append(fork.read_error())
    return {"exit_codes": exit_codes, "errors": errors}


def race(command, seed, processes):
    """Starts a command several times at nearly one moment."""
    chance, forks = random.Random(seed), []
    for _ in range(processes):
        forks.append(Fork(command))
        time.sleep(chance.uniform(0.0, 0.3))
    exit_codes = [fork.wait() for fork in forks]
    return {"exit_codes": exit_codes, "errors": [fork.read_error() for fork in forks]}


def fill(command, max_bytes):
    """Plays a command that can write no file beyond a number of bytes."""
    fork = Fork(command, max_bytes)
    return {"exit_codes": [fork.wait()], "errors": [fork.read_error()]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of the forks
    asked = json.loads(sys.argv[1])
    print(json.dumps(globals()[asked.pop("play")](**asked)))
