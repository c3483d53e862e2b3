"""Absent clients beside those of a problem, so that one compiled program serves fewer clients."""

import jax
import numpy as np


def pad(problem, num_clients):
    """Returns the problem with absent clients behind its own, up to this number of clients.

    That they change nothing for the others is tested in ``test_absent_clients.py``.
    """
    num_absent = num_clients - problem.num_clients
    lengthened = jax.tree.map(
        lambda leaf: np.concatenate([leaf, *[leaf[-1:]] * num_absent]) if leaf.ndim else leaf,
        problem,
    )
    is_own = np.arange(num_clients) < problem.num_clients
    return lengthened.replace(is_present=lengthened.is_present & is_own)
