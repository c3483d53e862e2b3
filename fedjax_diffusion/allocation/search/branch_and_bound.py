"""The levels of least energy within the error budget, proven: branch and bound, on the host.

Choosing one level per client is a multiple-choice knapsack: ``min sum_k e_k(b_k)`` subject to
``sum_k v_k(b_k) <= eps``. Clients are decided one after another. What is kept of the decisions so
far is their total error and energy, a *node*, and a node is dropped where

- another one has no more error and no more energy (dominance), or
- the best conceivable completion, on the convex hulls of the clients still open, would not beat
  the best levels known.

Works on tables of energy and error, in NumPy, and knows nothing of time, channels or bits.

Source: Kellerer, Pferschy and Pisinger, Knapsack Problems (2004), chapter 11: the relaxation to
convex hulls, the reduction of levels, and dynamic programming with bounds.
"""

from typing import NamedTuple

import numpy as np

_HUGE = 1e150


class Proven(NamedTuple):
    """The answer of the search.

    Attributes:
      level_index: int32 [K], levels that meet the budget.
      bound_joules: no levels within the budget cost less.
    """

    level_index: np.ndarray
    bound_joules: float


def search_levels(
    energy: np.ndarray,
    error: np.ndarray,
    budget: float,
    levels: np.ndarray,
    *,
    target_gap: float,
    max_nodes: int,
) -> Proven:
    """Improves levels until they are proven to be within ``target_gap`` of the least energy.

    Args:
      energy: float64 [B, K], of each level and client; infinite where the client may not use the
        level, finite for at least one.
      error: float64 [B, K], its term of the error.
      budget: eps >= 0, may be infinite.
      levels: int [K], a start: within the budget, of finite energy.
      target_gap: relative, > 0. Half of it is left to rounding.
      max_nodes: the most nodes kept after each client, those of the least bound. What is cut off
        lowers the bound that is returned.

    Returns:
      Levels whose energy is not above that of the start, and the bound.
    """
    table = _Table(energy, error)
    best, steps = _Best(table, budget, levels), _steps(table)
    completion = _complete(table, steps, np.ones(levels.size, bool))
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
    return Proven(best.levels.astype(np.int32), bound)


class _Table(NamedTuple):
    """Energy and error of every client at every level, float64 [B, K] each."""

    energy: np.ndarray
    error: np.ndarray


class _Best:
    """The best levels known so far."""

    def __init__(self, table: _Table, budget: float, levels: np.ndarray):
        self.table, self.budget, self.levels = table, budget, levels
        self.joules = _total(table.energy, levels)

    def offer(self, levels: np.ndarray) -> None:
        """Takes levels over if they meet the budget and cost less."""
        joules = _total(self.table.energy, levels)
        if joules < self.joules and _total(self.table.error, levels) <= self.budget:
            self.levels, self.joules = levels, joules


class _Steps(NamedTuple):
    """The lower convex hulls of all clients in the (error, energy) plane, as steps to go.

    Every client starts at its level of least error. A step moves one client to the next corner of
    its hull: more error, less energy. N steps, those that save the most per error first.

    Attributes:
      start: int [K], where each client starts.
      client: int [N], whom a step moves.
      level: int [N], to which level.
      added: float64 [N] > 0, the error that it adds.
      saved: float64 [N] > 0, the energy that it saves.
      worth: float64 [N] > 0, what it saves per error.
    """

    start: np.ndarray
    client: np.ndarray
    level: np.ndarray
    added: np.ndarray
    saved: np.ndarray
    worth: np.ndarray


class _Completion(NamedTuple):
    """What some clients cost together on their hulls: energy as a convex function of error.

    Attributes:
      client: int [N], whom each step moves.
      level: int [N], to which level.
      error: float64 [N + 1], total error before the first step and after each.
      energy: float64 [N + 1], total energy likewise.
    """

    client: np.ndarray
    level: np.ndarray
    error: np.ndarray
    energy: np.ndarray

    def num_steps(self, room: np.ndarray) -> np.ndarray:
        """Returns how many whole steps the error ``room`` admits, -1 where not even the start."""
        return np.searchsorted(self.error, room, side="right") - 1

    def least_energy(self, room: np.ndarray) -> np.ndarray:
        """Returns a lower bound on the energy of levels whose error is at most ``room``."""
        return np.interp(room, self.error, self.energy, left=np.inf)

    def take_steps(self, levels: np.ndarray, num_steps: int) -> np.ndarray:
        """Returns the levels [K] after the first steps."""
        moved = levels.copy()
        moved[self.client[:num_steps]] = self.level[:num_steps]
        return moved


def _decide(table: _Table, best: _Best, margin: float, max_nodes: int) -> float:
    """Branches over the clients that have several levels left; returns the proven bound."""
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
    """Returns the open clients, those whose levels differ most in energy first.

    The completions are then the closer to their bound, the more nodes there are.
    """
    highest = np.max(np.where(np.isfinite(table.energy), table.energy, -np.inf), axis=0)
    spread = highest - np.min(table.energy, axis=0)
    clients = np.flatnonzero(is_open)
    return clients[np.argsort(-spread[clients], kind="stable")]


def _follow(
    tree: list[tuple[int, np.ndarray, np.ndarray]], node: int, levels: np.ndarray
) -> np.ndarray:
    """Returns the levels [K] with those that led to a node.

    Args:
      tree: per decided client: who it is, the levels that every node branched into, and which nodes
        of the client before did so.
      node: a branch of the last client, counted before any was dropped.
      levels: int [K], of the others.
    """
    levels = levels.copy()
    for client, choices, parents in reversed(tree):
        parent, choice = divmod(node, choices.size)
        levels[client], node = choices[choice], int(parents[parent])
    return levels


def _undominated(energy: np.ndarray, error: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Returns the nodes to which no other one has no more error and no more energy."""
    nodes = nodes[np.lexsort((energy[nodes], error[nodes]))]
    before = np.minimum.accumulate(np.r_[np.inf, energy[nodes]])[:-1]
    return nodes[energy[nodes] < before]


def _complete(table: _Table, steps: _Steps, is_open: np.ndarray) -> _Completion:
    """Returns what the open clients, bool [K], cost together."""
    clients, stays = np.flatnonzero(is_open), is_open[steps.client]
    start = steps.start[clients]
    return _Completion(
        steps.client[stays],
        steps.level[stays],
        np.cumsum(np.r_[np.sum(table.error[start, clients]), steps.added[stays]]),
        np.cumsum(np.r_[np.sum(table.energy[start, clients]), -steps.saved[stays]]),
    )


def _steps(table: _Table) -> _Steps:
    """Returns the hulls of a table [B, K]."""
    corners = [_corners(*rows) for rows in zip(table.error.T, table.energy.T, strict=True)]
    client = np.array([k for k, levels in enumerate(corners) for _ in levels[1:]], int)
    before = np.array([level for levels in corners for level in levels[:-1]], int)
    after = np.array([level for levels in corners for level in levels[1:]], int)
    added = table.error[after, client] - table.error[before, client]
    saved = table.energy[before, client] - table.energy[after, client]
    with np.errstate(over="ignore"):
        worth = np.minimum(saved / added, _HUGE)
    order = np.argsort(-worth, kind="stable")
    start = np.array([levels[0] for levels in corners], int)
    return _Steps(start, client[order], after[order], added[order], saved[order], worth[order])


def _corners(error: np.ndarray, energy: np.ndarray) -> list[int]:
    """Returns one client's levels on its lower convex hull, from least error to least energy."""
    usable = np.flatnonzero(np.isfinite(energy))
    corners: list[int] = []
    for level in usable[np.lexsort((energy[usable], error[usable]))].tolist():
        if corners and energy[level] >= energy[corners[-1]]:
            continue
        while len(corners) > 1 and _is_above(error, energy, corners[-2], corners[-1], level):
            corners.pop()
        corners.append(level)
    return corners


def _is_above(error: np.ndarray, energy: np.ndarray, left: int, middle: int, right: int) -> bool:
    """Whether the middle level lies on or above the line through the other two."""
    fall = (energy[left] - energy[middle]) * (error[right] - error[left])
    return bool(fall <= (energy[left] - energy[right]) * (error[middle] - error[left]))


def _regret(table: _Table, levels: np.ndarray, multiplier: float) -> np.ndarray:
    """Returns by how much each level [B, K] raises the bound: ``e + lambda v`` above its least.

    Differences to ``levels`` [K] are priced, not sums: ``lambda v`` may be far larger than ``e``.
    """
    clients = np.arange(levels.size)
    error = table.error - table.error[levels, clients]
    priced = table.energy - table.energy[levels, clients] + multiplier * error
    return priced - np.min(priced, axis=0)


def _total(rows: np.ndarray, levels: np.ndarray) -> float:
    """Returns the sum over the clients of ``rows[levels[k], k]``."""
    return float(np.sum(rows[levels, np.arange(levels.size)]))
