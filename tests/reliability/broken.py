"""Run folders that are broken on purpose."""

import shutil

from fedjax_diffusion.runs.records import METRICS
from tests.tiny import pixel_config

ROUNDS = 4


def config_of(**overrides):
    """The config of the smallest run with a checkpoint after each round, all of them kept."""
    return pixel_config(**{"checkpoint__every_rounds": 1, "checkpoint__keep": 9} | overrides)


def interrupt(finished, folder, rounds=2):
    """Returns a copy of a finished run as it was after some rounds."""
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("summary.json", "figures"))
    shutil.rmtree(folder / "claims")
    for later in range(rounds + 1, ROUNDS + 1):
        shutil.rmtree(folder / "checkpoints" / str(later))
    change_lines(folder, lambda lines: lines[:rounds])
    return folder


def change_lines(folder, change):
    """Replaces the lines of metrics.jsonl, bytes with their ends, by others."""
    path = folder / METRICS
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def flip(path, bit):
    """Flips one bit of a file."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def contents(folder):
    """Content by relative path of every file, the claims left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "claims" not in path.parts
    }
