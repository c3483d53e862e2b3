"""Completion of commands, arguments, configs and settings by a shell (extra `completion`)."""

from typing import Any

import argcomplete
from argcomplete.completers import FilesCompleter

from fedjax_diffusion.cli.argument_parser import ArgumentParser
from fedjax_diffusion.experiment.config_files import list_configs, list_items, load_default

_OF_CONFIGS = ("config", "diff")
"""Arguments that name a config."""


class _Completer(FilesCompleter):
    """Completes files, and names of configs where one is asked for."""

    def __call__(self, prefix: str, action: Any = None, **rest: Any) -> list[str]:
        names = list_configs() if getattr(action, "dest", None) in _OF_CONFIGS else ()
        return [*super().__call__(prefix, **rest), *names]


def complete(parser: ArgumentParser) -> None:
    """Prints the completions of the line that a shell has, and ends the process.

    Args:
      parser: of the whole command line; every setting becomes an argument of its commands.
    """
    settings = [(key, type(value)) for key, value in list_items(load_default())]
    for command in parser.commands.values():
        prefixes = ["--config."] if command.get_default("config") else []
        prefixes += ["--config.", "--sweep."] if command.get_default("axes") is not None else []
        for prefix in prefixes:
            for key, kind in settings:
                choices = ["True", "False"] if kind is bool else None
                command.add_argument(f"{prefix}{key}", choices=choices, metavar="VALUE")
    argcomplete.autocomplete(parser, append_space=False, default_completer=_Completer())
