"""Processes that take claims, without JAX: they start in a tenth of a second and can be killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "fedjax_diffusion"
START = f"""
import os, signal, sys, types
from pathlib import Path
package = types.ModuleType("fedjax_diffusion")
package.__path__ = [{str(PACKAGE)!r}]
sys.modules["fedjax_diffusion"] = package  # in its place the real one would import JAX
from fedjax_diffusion.runs import claims
folder, write_claim = Path(sys.argv[1]), claims._write_claim
def take(name="run", **seconds):
    return claims.take(folder, name, **seconds)
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def ask():
    return sys.stdin.readline().strip()
"""
HOLD = """
claim = take(heartbeat_seconds=0.02)
print("owner", flush=True)
while ask() == "still?":
    print(claim.is_owner(), flush=True)
claim.release()
"""
ELSEWHERE = """
describe = claims.describe_process
claims.describe_process = lambda: {**describe(), "host": "elsewhere"}
"""
"""As from another machine: nobody here can say whether the process lives."""
THIEF = """
def stop_first(*arguments):
    print("judged", flush=True)
    if ask() == "die":
        die()
    claims._write_claim = write_claim
    return write_claim(*arguments)
claims._write_claim = stop_first
try:
    claim = take()
    print("owner", claim._path.name, flush=True)
    ask()
except ValueError:
    print("refused", flush=True)
"""
"""Stops between judging and stealing."""


class Claimant:
    """A process that runs a script, asked and answering line by line."""

    def __init__(self, folder: Path, script: str):
        self.process = subprocess.Popen(
            [sys.executable, "-c", START + script, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()

    def ask(self, line: str) -> str:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> str:
        return self.process.stdout.readline().strip()

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Ends its input, and returns its exit code."""
        self.process.stdin.close()
        return self.process.wait(timeout=30)

    def stop(self) -> None:
        """Returns when it stands still."""
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """Lets it run again."""
        self.send(signal.SIGCONT)
