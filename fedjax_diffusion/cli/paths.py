"""Paths on the command line: none is empty, and ``~`` is the user's folder."""

import os
from argparse import Namespace

_PATHS = (
    *("config", "workdir", "output", "images", "data_dir", "figures", "problem", "clients"),
    *("earlier", "inception_weights", "diff", "allocation", "plugins"),
)


def expand_paths(arguments: Namespace) -> None:
    """Replaces ``~`` in each path among the arguments, which a shell leaves in ``--workdir=~/x``.

    Raises:
      ValueError: a path is empty, as where a shell's variable is not set.
    """
    for name in _PATHS:
        given = vars(arguments).get(name)
        if given == "" or (isinstance(given, list) and "" in given):
            raise ValueError(f"--{name}= is empty; give a path, or leave the argument out")
        if isinstance(given, str):
            setattr(arguments, name, os.path.expanduser(given))
        elif isinstance(given, list):
            setattr(arguments, name, [os.path.expanduser(path) for path in given])
