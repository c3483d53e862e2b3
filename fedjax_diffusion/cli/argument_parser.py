"""A parser of arguments that refuses in one line and names the argument that is probably meant."""

import argparse
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

from fedjax_diffusion.cli.descriptions import EXAMPLES
from fedjax_diffusion.host.suggestions import ask, suggest
from fedjax_diffusion.sweep.launchers.engines import ENGINES

_OPTION = re.compile(r"(?<=[\[ ])--\w+")
_WIDTH = 80
OPEN_PREFIXES = ("--config.", "--sweep.", *(f"--{name}." for name in ENGINES))
"""Beginnings of arguments that name a setting; their keys are checked elsewhere."""


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose error is a ValueError.

    Attributes:
      commands: the parsers of the commands, by name; empty for the parser of a command.
    """

    commands: Mapping[str, "ArgumentParser"] = {}

    @property
    def options(self) -> list[str]:
        """All long options, as ``--workdir``."""
        return [*_OPTION.findall(self.format_usage()), "--help"]

    def error(self, message: str) -> NoReturn:
        """Raises ValueError instead of printing the usage and ending the process."""
        raise ValueError(f"{message}; see {self.prog} --help")

    def show_example(self, name: str) -> None:
        """Adds the example of a command to the end of its help."""
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        prose = textwrap.fill(self.epilog or "", _WIDTH)
        self.epilog = f"{prose}\n\nexample:\n  fedjax-diffusion {EXAMPLES[name]}".lstrip()


def check_words(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Raises ValueError for a command or an option that does not exist, with the one meant.

    Args:
      parser: with commands.
      words: the command line without the name of the program.
    """
    name, *rest = words or [""]
    if name and name[0] != "-" and name not in parser.commands:
        known = suggest(name, parser.commands) or f"; choose from {', '.join(parser.commands)}"
        raise ValueError(f"unknown command {name}{known}")
    if name in parser.commands:
        options = parser.commands[name].options
        for word in rest:
            is_option = word.startswith("--") and not word.startswith(OPEN_PREFIXES)
            if is_option and word.partition("=")[0] not in options:
                raise unknown_argument(word, options)


def unknown_argument(text: str, options: Collection[str]) -> ValueError:
    """Returns the error for an unknown argument, with the option or the setting that is meant.

    Args:
      text: of the argument.
      options: long options of its command.
    """
    name = text.partition("=")[0].lstrip("-")
    advice = suggest(name, [option[2:] for option in options]).replace("mean ", "mean --")
    if not advice and "--config" in options:
        advice = ask(f"--config{key}" for key in _find_settings(name))
    return ValueError(f"unknown argument {text}{advice or '; see --help'}")


def _find_settings(name: str) -> list[str]:
    """Returns ``=NAME`` for the name of a config, and ``.KEY`` for the settings with this name."""
    from fedjax_diffusion.experiment.config_files import list_configs, list_items, load_default

    keys = [f".{key}" for key, _ in list_items(load_default())]
    configs = [f"={name}"] if name in list_configs() or name.endswith(".py") else []
    return configs + [key for key in keys if key.endswith(f".{name}")]
