"""Command lines of every command: its options and its settings, many of them wrong."""

import os
import sys
from pathlib import Path

from hypothesis import strategies as st

from fedjax_diffusion.cli.parser import make_parser
from tests.reliability.drawn_values import KINDS, METHODS, TEXTS, draw_text, is_refused

PARSERS = make_parser().commands
GOOD = {
    "run": ("--config=mine.py", "--workdir=out"),
    "sample": ("--workdir=run", "--num_samples=4"),
    "evaluate": ("--workdir=run", "--num_samples=20"),
    "sweep": ("--config=mine.py", "--workdir=out", "--dry_run", "--sweep.seed=1,2"),
    "compare": (
        *("--config=mine.py", "--workdir=out", "--dry_run", "--config.compare.num_seeds=2"),
    ),
    "data": ("--config=mine.py", "--output=out"),
    "study": ("--config=mine.py", "--workdir=out"),
    "report": ("--workdir=run",),
    "allocate": ("--problem=problem.json",),
    "config": ("mine.py",),
    "export": ("--workdir=run",),
    "verify": ("--problem=problem.json", "--allocation=answer.json"),
}
"""Of each command, a line that is right and takes little time."""
PLAYED = (
    *("seed", "round_schedule", "cohort_size", "partition.name", "partition.alpha"),
    *("partition.shards_per_client", "diffusion.name", "local_work.local_epochs"),
    *("client_optimizer", "server_optimizer", "federated", "quantization", "devices", "channel"),
    *("workload", "allocator", "sampling.eta", "sampling.guidance_scale", "sampling.sampler"),
)
"""Settings, or groups, with which a tiny run is tiny whatever their values are."""
NOT_DRAWN = {"help", "watch", "coordinator"}
"""Options that end the process, wait for other processes, or join them."""
PLACES = (
    *("run", "mine.py", "problem.json", "answer.json", "table.csv", "nothing", "out", "out/a/b"),
    *("out.png", "out.json", "out.csv", "out.html", "out.npz", "out.txt", "out.jpg", "OUT.PNG"),
    *("", ".", "..", "/", "/dev/null", "/dev/full", "/proc/x", "~nobody/x", "mine.py/x"),
    *("x" * 300, "a\0b", "\udcff", "a\nb", "日本", "b[4,8]", "$(id)", "-", "mine.py:x", "10:30.py"),
    *("digits", "run/config.json", "run/checkpoints", "run/metrics.jsonl", "paper_digits:smoke"),
)
LONG_CONFIGS = ("digits", "paper_digits:smoke")
"""Configs with which ``run`` and ``study`` take long."""
NUMBERS = (
    *("-1", "0", "1", "2", "3", "8", "17", "4294967295", "4294967296", "9" * 400, "9" * 5000),
    *("1.5", "1e3", "٣", "", " ", "x", "None", "1_0", "+2", "0x1", "nan"),
)
REALS = ("-1", "0", "-0.0", "0.5", "1", "1.5", "1e400", "nan", "-inf", "1e-320", "x", "", "None")
WORDS = (
    *("--config.", "--config.=1", "--config.seed", "--config.seed.x=1", "--config.model=3", "--"),
    *("--config", "--workdir", "--sweep.", "--sweep.seed", "--sweep.sede=1", "--slurm.time=1"),
    *("--ray.x=1", "--unknown=1", "--help=1", "-x", "-", "extra", "x" * 5000, "\udcff", "a\nb"),
)
AXES = (
    *("0..7", "0..20000", "5..1", "0..", "..", "a..b", "0..99999999999", "1,1", ",", "", "1,,2"),
    *("0..3..2", "(1,2)", "-3..-1", "0.." + "9" * 400, "\u0660..\u0663", "1e3", "true,false"),
)


@st.composite
def draw_line(draw):
    """Draws a command and one to three changes of a line of it that is right."""
    command = draw(st.sampled_from(tuple(GOOD)))
    line = list(GOOD[command])
    if draw(st.integers(0, 9)) == 0:
        line.remove(draw(st.sampled_from([word for word in line if word != "--dry_run"])))
    for _ in range(draw(st.integers(1, 3))):
        line += draw(_draw_change(command))
    return [command, *line]


def _draw_change(command):
    actions = [a for a in PARSERS[command]._actions if a.dest not in NOT_DRAWN]
    option = st.sampled_from(actions).flatmap(lambda action: _draw_option(command, action))
    changes = [option, option, option, st.sampled_from(WORDS).map(lambda word: [word])]
    if any(action.dest == "config" for action in actions):
        changes += [_draw_setting(command)] * 3
    if command == "sweep":
        changes += [_draw_axis()] * 2
    return st.one_of(changes)


def _draw_option(command, action):
    """Draws an argument with a value of its kind or of another; a flag without one, mostly."""
    name = action.option_strings[-1] if action.option_strings else ""
    if action.nargs == 0:
        return st.sampled_from([[name]] * 4 + [[f"{name}=1"]])
    if action.choices:
        values = [*action.choices, *(f"{choice}x" for choice in action.choices), ""]
    elif action.type is int:
        values = NUMBERS
    elif action.type is float:
        values = REALS
    elif action.dest == "method":
        values = METHODS
    else:
        values = [*PLACES, *TEXTS]
    if action.dest == "config" and command in ("run", "study"):
        values = [value for value in values if value not in LONG_CONFIGS]
    return st.sampled_from(values).map(lambda value: [f"{name}={value}" if name else value])


@st.composite
def _draw_setting(draw, command):
    key = draw(st.sampled_from([key for key in KINDS if not key.startswith("model.")]))
    text = draw(draw_text(key))
    is_short = command == "config" or is_refused(key, text) or key.startswith(PLAYED)
    return [f"--config.{key}={text}"] if is_short else []


@st.composite
def _draw_axis(draw):
    key = draw(st.sampled_from(tuple(KINDS)))
    text = draw(st.sampled_from(AXES) | draw_text(key))
    return [f"--sweep.{key}={text}"]


class Writes:
    """Paths that Python writes or makes while this is entered, relative ones made absolute."""

    current = None
    _is_heard = False

    def __enter__(self):
        if not Writes._is_heard:
            sys.addaudithook(_hear)
            Writes._is_heard = True
        Writes.current = []
        return Writes.current

    def __exit__(self, *_):
        Writes.current = None


def _hear(event, arguments):
    if Writes.current is None:
        return
    if event == "open":
        path, _, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR) and isinstance(path, str):
            Writes.current.append(os.path.abspath(path))
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"):
        Writes.current += [os.path.abspath(p) for p in arguments[:2] if isinstance(p, str | Path)]
