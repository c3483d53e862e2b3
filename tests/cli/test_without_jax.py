"""Commands that answer at once: none of them imports JAX."""

import json
import subprocess
import sys

from tests.sweep.stubs import make_sweep

SCRIPT = """
import contextlib, io, json, os, signal, sys, time

HEAVY = {"jax", "flax", "optax", "numpy", "matplotlib", "tensorflow_datasets"}

def answer(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
    return [code, out.getvalue(), err.getvalue(), sorted(HEAVY & {*sys.modules})]

class Signal:
    def find_spec(self, name, path=None, target=None):
        if name in HEAVY:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))
            time.sleep(20)

from fedjax_diffusion.cli.main import main
answers = [answer(arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps(answers), flush=True)
sys.meta_path.insert(0, Signal())
main(["run"])
"""
COMMANDS = [
    (["--help"], 0, "usage: fedjax-diffusion"),
    (["run", "--help"], 0, "usage: fedjax-diffusion run"),
    (["--version"], 0, "0."),
    (["rnu"], 2, "unknown command rnu; did you mean run?"),
    (["xyz"], 2, "unknown command xyz; choose from run, sample, "),
    (["sample"], 2, "required: --workdir; see fedjax-diffusion sample --help"),
    (["sample", "--workdr=x"], 2, "unknown argument --workdr=x; did you mean --workdir?"),
    (["run", "--confg=x"], 2, "unknown argument --confg=x; did you mean --config?"),
    (["run", "cifar10"], 2, "unknown argument cifar10; did you mean --config=cifar10?"),
    (["run", "--xyz=1"], 2, "unknown argument --xyz=1; see --help"),
    (["run", "--seed=1"], 2, "unknown argument --seed=1; did you mean --config.seed?"),
    (["run", "--config.quantization.bits=4"], 2, "set allocator.method=fixed_bits:B"),
    (["run", "--config.devices.speed=4"], 2, "unknown key; devices has devices.bandwidth_hz, "),
    (["run", "--config.xyz=4"], 2, "unknown key; `fedjax-diffusion config` lists all keys"),
    (["sweep", "--status"], 2, "give --config=FILE, or --workdir"),
    (["sweep", "--workdir=.", "--status"], 0, "points  3: 3 planned"),
    (["sweep", "--workdir=nowhere", "--status"], 2, "nowhere is not the folder of a sweep"),
    (["sweep", "--dry_run"], 2, "give --config=FILE, or --workdir"),
    (["sweep", "--dry_run", "--config=digits", "--sweep.seed=1..0"], 2, "the range 1..0 is empty"),
    (["run", "--config.num_round=3"], 2, "config.num_round: unknown key; did you mean num_rounds?"),
    (["sweep", "--config=digits", "--sweep.sed=0,1"], 2, "did you mean seed?"),
    (["sweep", "--config=digits", "--sweep.model.chanels=8,16"], 2, "did you mean model.channels?"),
    (["run", "--config=cifar10:smoke", "--config.model.depth=3"], 2, "config.model.depth: unknown"),
    (["sweep", "--dry_run", "--config=digits", "--watch"], 2, "--watch belongs to --status"),
    (["report"], 2, "required: --workdir"),
    (["report", "--workdir=nowhere"], 2, "nowhere holds no run, comparison, study or sweep"),
    (["report", "--workdir=.", "--output=a.txt"], 2, "--output must end in .html"),
    (["sweep", "--workdir=.", "--launcher=local", "--workers=99999"], 2, "--workers must be in"),
]


def test_help_usage_errors_and_the_state_of_a_sweep_need_no_jax(tmp_path):
    make_sweep(tmp_path)
    lines = json.dumps([arguments for arguments, *_ in COMMANDS])
    command = [sys.executable, "-c", SCRIPT, lines, "SIGINT"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    answers = json.loads(process.stdout)
    for (arguments, code, text), (exit_code, out, err, heavy) in zip(
        COMMANDS, answers, strict=True
    ):
        assert (exit_code, heavy) == (code, []), arguments
        assert text in (out if code == 0 else err), arguments
    # at last Ctrl-C, while a run imports its modules
    line = "; repeat the command to continue from the last checkpoint\n"
    assert (process.returncode, process.stderr) == (130, f"\ninterrupted{line}")
    command[-2:] = "[]", "SIGTERM"
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (143, f"\nterminated{line}")
