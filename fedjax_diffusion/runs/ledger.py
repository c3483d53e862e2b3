"""Ledger: energy and bytes of this run and of each baseline so far; bytes are exact."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

THIS_RUN = "this_run"


@dataclasses.dataclass(frozen=True)
class Spending:
    """Totals of one method over the rounds.

    Attributes:
      compute_joules: energy of local training.
      transmit_joules: energy of uploads.
      uplink_bytes: bytes of uploads.
      late: number of uploads that missed the deadline.
      on_time_joules: energy of the clients that were on time under every method, in each round.
    """

    compute_joules: float = 0.0
    transmit_joules: float = 0.0
    uplink_bytes: int = 0
    late: int = 0
    on_time_joules: float = 0.0

    @property
    def total_joules(self) -> float:
        """Energy of computing and transmitting, joules."""
        return self.compute_joules + self.transmit_joules

    def __add__(self, other: "Spending") -> "Spending":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Spending(*(a + b for a, b in pairs))


class SavingsRow(NamedTuple):
    """One method of the table of savings, and this run's savings against it; None if undefined."""

    method: str
    compute_joules: float
    transmit_joules: float
    total_joules: float
    uplink_bytes: int
    late: int
    saved_joules_percent: float | None
    on_time_saved_joules_percent: float | None
    saved_bytes_percent: float | None


@dataclasses.dataclass(frozen=True)
class Ledger:
    """Cumulative totals of a run and of its baselines, computed from its records only.

    Attributes:
      spendings: one ``Spending`` per method; this run's is first, under ``THIS_RUN``.
      full_precision_bytes: bytes of the same uploads in float32.
      on_time_clients: number of uploads that ``on_time_joules`` covers.
      num_rounds: number of records added.
    """

    spendings: Mapping[str, Spending] = dataclasses.field(
        default_factory=lambda: {THIS_RUN: Spending()}
    )
    full_precision_bytes: int = 0
    on_time_clients: int = 0
    num_rounds: int = 0

    def add(self, record: Mapping[str, Any]) -> "Ledger":
        """Returns the ledger after one more round.

        Args:
          record: one line of ``metrics.jsonl``: ``compute_joules``, ``transmit_joules``,
            ``uplink_bytes``, ``full_precision_bytes``, ``on_time_clients``, ``on_time_joules
            {method: J}``, and per baseline ``baseline_compute_joules``,
            ``baseline_transmit_joules``, ``baseline_uplink_bytes``, ``baseline_late``; ``faults``
            of a run with faults.
        """
        spent = {
            THIS_RUN: Spending(
                float(record["compute_joules"]),
                float(record["transmit_joules"]),
                int(record["uplink_bytes"]),
                record.get("faults", []).count("late"),  # without faults nobody is
                float(record["on_time_joules"][THIS_RUN]),
            )
        }
        for name, compute_joules in record["baseline_compute_joules"].items():
            spent[name] = Spending(
                float(compute_joules),
                float(record["baseline_transmit_joules"][name]),
                int(record["baseline_uplink_bytes"][name]),
                int(record["baseline_late"][name]),
                float(record["on_time_joules"][name]),
            )
        names = dict.fromkeys((*self.spendings, *spent))
        nothing = Spending()
        return Ledger(
            spendings={
                name: self.spendings.get(name, nothing) + spent.get(name, nothing) for name in names
            },
            full_precision_bytes=self.full_precision_bytes + int(record["full_precision_bytes"]),
            on_time_clients=self.on_time_clients + int(record["on_time_clients"]),
            num_rounds=self.num_rounds + 1,
        )

    def savings(self) -> list[SavingsRow]:
        """Returns one row per method, this run first: its totals and this run's savings."""
        ours = self.spendings[THIS_RUN]
        return [
            SavingsRow(
                name,
                spending.compute_joules,
                spending.transmit_joules,
                spending.total_joules,
                spending.uplink_bytes,
                spending.late,
                percent_saved(ours.total_joules, spending.total_joules),
                percent_saved(ours.on_time_joules, spending.on_time_joules),
                percent_saved(ours.uplink_bytes, spending.uplink_bytes),
            )
            for name, spending in self.spendings.items()
        ]


def percent_saved(ours: float, theirs: float) -> float | None:
    """Returns the saving of ``ours`` against ``theirs`` in percent; None if ``theirs`` is 0.

    >>> percent_saved(1.0, 4.0), percent_saved(0.0, 0.0)
    (75.0, None)
    """
    return 100.0 * (1.0 - ours / theirs) if theirs > 0 else None
