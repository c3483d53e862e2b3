"""Proven bit widths of least energy within the error budget: branch and bound, on the host.

Choosing one bit width per client is a multiple-choice knapsack: ``min sum_k e_k(b_k)`` subject to
``sum_k v_k(b_k) <= eps``. Clients are decided one after another. A *node* is the total error and
energy of the decisions so far. A node is dropped if

- another node has no more error and no more energy (dominance), or
- the best possible completion, on the convex hulls of the open clients, is not better than the
  best known bit widths.

Works in NumPy on tables of energy and error, independent of time, channels and bits.

Source: Kellerer, Pferschy and Pisinger, Knapsack Problems (2004), chapter 11: the relaxation to
convex hulls, the reduction of bit widths, and dynamic programming with bounds.
"""

from typing import NamedTuple

import numpy as np

_HUGE = 1e150


class Proven(NamedTuple):
    """Result of the search.

    Attributes:
      bit_width_index: int32 [K], bit widths that meet the budget.
      bound_joules: a lower bound on the energy of all bit widths within the budget.
    """

    bit_width_index: np.ndarray
    bound_joules: float


def search_bit_widths(
    energy: np.ndarray,
    error: np.ndarray,
    budget: float,
    bit_widths: np.ndarray,
    *,
    target_gap: float,
    max_nodes: int,
) -> Proven:
    """Improves bit widths until they are proven to be within ``target_gap`` of the least energy.

    Args:
      energy: float64 [B, K], of each bit width and client; infinite where the client may not use
        the bit width, finite for at least one.
      error: float64 [B, K], its term of the error.
      budget: eps >= 0, may be infinite.
      bit_widths: int [K], the start: within the budget, of finite energy.
      target_gap: relative, > 0. Half of it is reserved for rounding.
      max_nodes: the most nodes kept after each client, those of the least bound. Dropping the
        others lowers the returned bound.

    Returns:
      Bit widths whose energy is not above that of the start, and the bound.
    """
    table = _Table(energy, error)
    best, steps = _Best(table, budget, bit_widths), _steps(table)
    completion = _complete(table, steps, np.ones(bit_widths.size, bool))
    num_steps = int(completion.num_steps(np.array(budget)))
    hull_joules = float(completion.least_energy(np.array(budget)))
    corner = completion.take_steps(steps.start, num_steps)
    best.offer(corner)
    margin = 1.0 - 0.5 * target_gap
    room = best.joules * margin - hull_joules
    bound = hull_joules
    if room > 0:
        multiplier = float(steps.worth[num_steps]) if num_steps < steps.worth.size else 0.0
        is_worthwhile = _regret(table, corner, multiplier) < room
        reduced = _Table(np.where(is_worthwhile, energy, np.inf), error)
        bound = max(bound, _decide(reduced, best, margin, max_nodes))
    return Proven(best.bit_widths.astype(np.int32), bound)


class _Table(NamedTuple):
    """Energy and error of every client at every bit width, float64 [B, K] each."""

    energy: np.ndarray
    error: np.ndarray


class _Best:
    """Best bit widths known so far."""

    def __init__(self, table: _Table, budget: float, bit_widths: np.ndarray):
        self.table, self.budget, self.bit_widths = table, budget, bit_widths
        self.joules = _total(table.energy, bit_widths)

    def offer(self, bit_widths: np.ndarray) -> None:
        """Keeps the bit widths if they meet the budget and cost less than the best."""
        joules = _total(self.table.energy, bit_widths)
        if joules < self.joules and _total(self.table.error, bit_widths) <= self.budget:
            self.bit_widths, self.joules = bit_widths, joules


class _Steps(NamedTuple):
    """Lower convex hulls of all clients in the (error, energy) plane, as a sequence of steps.

    Every client starts at its bit width of least error. A step moves one client to the next corner
    of its hull: more error, less energy. N steps, those with the largest saving per error first.

    Attributes:
      start: int [K], the first bit width of each client.
      client: int [N], the client that a step moves.
      bit_width: int [N], the bit width after the step.
      added: float64 [N] > 0, the error that it adds.
      saved: float64 [N] > 0, the energy that it saves.
      worth: float64 [N] > 0, the energy saved per error.
    """

    start: np.ndarray
    client: np.ndarray
    bit_width: np.ndarray
    added: np.ndarray
    saved: np.ndarray
    worth: np.ndarray


class _Completion(NamedTuple):
    """Total energy of some clients on their hulls, as a convex function of their error.

    Attributes:
      client: int [N], the client that each step moves.
      bit_width: int [N], the bit width after the step.
      error: float64 [N + 1], total error before the first step and after each.
      energy: float64 [N + 1], total energy at the same points.
    """

    client: np.ndarray
    bit_width: np.ndarray
    error: np.ndarray
    energy: np.ndarray

    def num_steps(self, room: np.ndarray) -> np.ndarray:
        """Returns the number of whole steps within the error ``room``, -1 if the start exceeds."""
        return np.searchsorted(self.error, room, side="right") - 1

    def least_energy(self, room: np.ndarray) -> np.ndarray:
        """Returns a lower bound on the energy of bit widths whose error is at most ``room``."""
        return np.interp(room, self.error, self.energy, left=np.inf)

    def take_steps(self, bit_widths: np.ndarray, num_steps: int) -> np.ndarray:
        """Returns the bit widths [K] after the first steps."""
        moved = bit_widths.copy()
        moved[self.client[:num_steps]] = self.bit_width[:num_steps]
        return moved


def _decide(table: _Table, best: _Best, margin: float, max_nodes: int) -> float:
    """Branches over the clients with several bit widths left; returns the proven bound."""
    steps, is_open = _steps(table), np.isfinite(table.energy).sum(axis=0) > 1
    settled = np.flatnonzero(~is_open)
    energy = np.array([np.sum(table.energy[steps.start[settled], settled])])
    error = np.array([np.sum(table.error[steps.start[settled], settled])])
    tree, kept, cut_off = [], np.zeros(1, int), np.inf
    for client in _order(table, is_open):
        is_open[client] = False
        completion = _complete(table, steps, is_open)
        choices = np.flatnonzero(np.isfinite(table.energy[:, client]))
        tree.append((client, choices, kept))
        energy = (energy[:, None] + table.energy[choices, client]).ravel()
        error = (error[:, None] + table.error[choices, client]).ravel()
        room = best.budget - error
        num_steps = completion.num_steps(room)
        reached = np.where(num_steps >= 0, energy + completion.energy[num_steps], np.inf)
        node = int(np.argmin(reached))
        if reached[node] < best.joules:
            decided = _follow(tree, node, steps.start)
            best.offer(completion.take_steps(decided, int(num_steps[node])))
        bound = energy + completion.least_energy(room)
        kept = _undominated(energy, error, np.flatnonzero(bound < best.joules * margin))
        if kept.size > max_nodes:
            kept = kept[np.argsort(bound[kept], kind="stable")]
            cut_off = min(cut_off, float(bound[kept[max_nodes]]))
            kept = kept[:max_nodes]
        energy, error = energy[kept], error[kept]
        if not kept.size:
            break
    return min(best.joules * margin, cut_off)


def _order(table: _Table, is_open: np.ndarray) -> np.ndarray:
    """Returns the open clients, those whose bit widths differ most in energy first.

    Then the completions get closer to their bound as the number of nodes grows.
    """
    highest = np.max(np.where(np.isfinite(table.energy), table.energy, -np.inf), axis=0)
    spread = highest - np.min(table.energy, axis=0)
    clients = np.flatnonzero(is_open)
    return clients[np.argsort(-spread[clients], kind="stable")]


def _follow(
    tree: list[tuple[int, np.ndarray, np.ndarray]], node: int, bit_widths: np.ndarray
) -> np.ndarray:
    """Returns the bit widths [K] with the decisions of a node filled in.

    Args:
      tree: per decided client: its index, the bit widths of every node's branches, and the nodes of
        the previous client that branched.
      node: a branch of the last client, counted before any was dropped.
      bit_widths: int [K], of the other clients.
    """
    bit_widths = bit_widths.copy()
    for client, choices, parents in reversed(tree):
        parent, choice = divmod(node, choices.size)
        bit_widths[client], node = choices[choice], int(parents[parent])
    return bit_widths


def _undominated(energy: np.ndarray, error: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Returns the nodes that no other node dominates in both error and energy."""
    nodes = nodes[np.lexsort((energy[nodes], error[nodes]))]
    before = np.minimum.accumulate(np.r_[np.inf, energy[nodes]])[:-1]
    return nodes[energy[nodes] < before]


def _complete(table: _Table, steps: _Steps, is_open: np.ndarray) -> _Completion:
    """Returns the total energy on their hulls of the open clients, bool [K]."""
    clients, stays = np.flatnonzero(is_open), is_open[steps.client]
    start = steps.start[clients]
    return _Completion(
        steps.client[stays],
        steps.bit_width[stays],
        np.cumsum(np.r_[np.sum(table.error[start, clients]), steps.added[stays]]),
        np.cumsum(np.r_[np.sum(table.energy[start, clients]), -steps.saved[stays]]),
    )


def _steps(table: _Table) -> _Steps:
    """Returns the hulls of a table [B, K]."""
    corners = [_corners(*rows) for rows in zip(table.error.T, table.energy.T, strict=True)]
    client = np.array([k for k, bit_widths in enumerate(corners) for _ in bit_widths[1:]], int)
    before = np.array([bit_width for bit_widths in corners for bit_width in bit_widths[:-1]], int)
    after = np.array([bit_width for bit_widths in corners for bit_width in bit_widths[1:]], int)
    added = table.error[after, client] - table.error[before, client]
    saved = table.energy[before, client] - table.energy[after, client]
    with np.errstate(over="ignore"):
        worth = np.minimum(saved / added, _HUGE)
    order = np.argsort(-worth, kind="stable")
    start = np.array([bit_widths[0] for bit_widths in corners], int)
    return _Steps(start, client[order], after[order], added[order], saved[order], worth[order])


def _corners(error: np.ndarray, energy: np.ndarray) -> list[int]:
    """Returns a client's bit widths on its lower convex hull, least error first."""
    usable = np.flatnonzero(np.isfinite(energy))
    corners: list[int] = []
    for bit_width in usable[np.lexsort((energy[usable], error[usable]))].tolist():
        if corners and energy[bit_width] >= energy[corners[-1]]:
            continue
        while len(corners) > 1 and _is_above(error, energy, corners[-2], corners[-1], bit_width):
            corners.pop()
        corners.append(bit_width)
    return corners


def _is_above(error: np.ndarray, energy: np.ndarray, left: int, middle: int, right: int) -> bool:
    """Returns whether the middle bit width lies on or above the line through the other two."""
    fall = (energy[left] - energy[middle]) * (error[right] - error[left])
    return bool(fall <= (energy[left] - energy[right]) * (error[middle] - error[left]))


def _regret(table: _Table, bit_widths: np.ndarray, multiplier: float) -> np.ndarray:
    """Returns the increase of the bound by each bit width [B, K]: ``e + lambda v`` minus its least.

    Computed from differences to ``bit_widths`` [K], as ``lambda v`` may be far larger than ``e``.
    """
    clients = np.arange(bit_widths.size)
    error = table.error - table.error[bit_widths, clients]
    priced = table.energy - table.energy[bit_widths, clients] + multiplier * error
    return priced - np.min(priced, axis=0)


def _total(rows: np.ndarray, bit_widths: np.ndarray) -> float:
    """Returns the sum over the clients of ``rows[bit_widths[k], k]``."""
    return float(np.sum(rows[bit_widths, np.arange(bit_widths.size)]))
