"""Hyperparameters of a simulator: numbers that may change without another compilation.

They are any pytree of arrays. ``LocalTraining`` and ``ServerUpdate`` may be given as functions of
them, called while the round is traced: a learning rate is then an input of the compiled program
like the clients' bits, and the runs of a sweep share one program.
"""

from typing import Any


def settle(settings: Any, hyperparameters: Any) -> Any:
    """Returns settings, which may be given as a function of the hyperparameters."""
    return settings(hyperparameters) if callable(settings) else settings
