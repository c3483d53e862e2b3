"""Status of each client in an allocation."""

from enum import IntEnum

import jax.numpy as jnp

from fedjax_diffusion.types import Array


class Status(IntEnum):
    """Status of one client: OPTIMAL if it participates, else the reason why it does not.

    A client that cannot participate for a reason of its own has DEMAND or TIME (DEMAND if both). If
    the others then cannot meet the error budget, each of them has ERROR. If each could deliver over
    the whole shared band, but not all together, each of them has BANDWIDTH. A client that is not
    present has DEMAND, or TIME if demands are ignored.
    """

    OPTIMAL = 0
    INFEASIBLE_TIME = 1
    INFEASIBLE_ERROR = 2
    INFEASIBLE_DEMAND = 3
    INFEASIBLE_BANDWIDTH = 4


def client_status(is_demand_met: Array, is_delivered: Array) -> Array:
    """Returns the clients' status int32 [K], without regard to the error budget.

    Args:
      is_demand_met: bool [K], whether the demanded bit width is at most the largest that the
        client can handle.
      is_delivered: bool [K], whether some allowed bit width arrives within the deadline.
    """
    status = jnp.where(is_delivered, Status.OPTIMAL, Status.INFEASIBLE_TIME)
    return jnp.where(is_demand_met, status, Status.INFEASIBLE_DEMAND).astype(jnp.int32)


def meet_budget(status: Array, smallest_error: Array, budget: Array) -> Array:
    """Returns the status int32 [K] with INFEASIBLE_ERROR if the budget is out of reach.

    It is set for all clients that could participate.

    Args:
      status: int32 [K], from ``client_status``.
      smallest_error: [], the least total error of those clients.
      budget: [], eps.
    """
    is_missed = (smallest_error > budget) & (status == Status.OPTIMAL)
    return jnp.where(is_missed, Status.INFEASIBLE_ERROR, status).astype(jnp.int32)
