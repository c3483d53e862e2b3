"""Programs in the place of workers, which start at once."""

import subprocess
import sys


def replace_workers(monkeypatch, program):
    """Lets launchers start a program: its arguments are the sweep's folder and the flags."""
    popen = subprocess.Popen

    def start(command, **options):
        assert command[1:4] == ["-m", "fedjax_diffusion", "sweep"]
        workdir = command[4].removeprefix("--workdir=")
        assert command[5] == "--worker"
        return popen([sys.executable, "-SEc", program, workdir, *command[6:]], **options)

    monkeypatch.setattr(subprocess, "Popen", start)
