"""What came of each client of an allocation."""

from enum import IntEnum

import jax.numpy as jnp

from fedjax_diffusion.types import Array


class Status(IntEnum):
    """What came of one client.

    A client that cannot participate on its own account says so (DEMAND before TIME); where the
    others then cannot meet the error budget, each of them bears ERROR. Where the band is shared and
    each could deliver over the whole of it, but not all together, each of them bears BANDWIDTH. A
    client that is not present bears DEMAND, or TIME where demands are ignored.
    """

    OPTIMAL = 0
    INFEASIBLE_TIME = 1
    INFEASIBLE_ERROR = 2
    INFEASIBLE_DEMAND = 3
    INFEASIBLE_BANDWIDTH = 4


def client_status(is_demand_met: Array, is_delivered: Array) -> Array:
    """Returns the status int32 [K] that clients have on their own, before any error budget.

    Args:
      is_demand_met: bool [K], the demanded bit width is not above the largest that the client can
        handle.
      is_delivered: bool [K], some bit width that it may use arrives within the deadline.
    """
    status = jnp.where(is_delivered, Status.OPTIMAL, Status.INFEASIBLE_TIME)
    return jnp.where(is_demand_met, status, Status.INFEASIBLE_DEMAND).astype(jnp.int32)


def meet_budget(status: Array, smallest_error: Array, budget: Array) -> Array:
    """Returns the status int32 [K] with INFEASIBLE_ERROR if the budget is out of reach.

    All clients that could participate bear it.

    Args:
      status: int32 [K], from ``client_status``.
      smallest_error: [], the least total error of those clients.
      budget: [], eps.
    """
    is_missed = (smallest_error > budget) & (status == Status.OPTIMAL)
    return jnp.where(is_missed, Status.INFEASIBLE_ERROR, status).astype(jnp.int32)
