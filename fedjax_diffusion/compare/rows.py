"""Rows of a comparison: one per run, and one per variant over its seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fedjax_diffusion.compare.variants import Play, fingerprint_settings
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.runs.ledger import percent_saved
from fedjax_diffusion.sweep.pairs import Interval, mean_interval, paired_percent


class RunRow(NamedTuple):
    """One finished run; joules and bytes over all rounds.

    Attributes:
      variant: its name.
      seed: of the run.
      distance_name: ``"fid"`` or ``"fcd"``, see ``DISTANCE_NAMES``.
      distance: Fréchet distance of its images from the real ones.
      floor: the same of held-out real images; None if not measured.
      precision: of the images, in [0, 1].
      recall: of the images, in [0, 1].
      loss: training loss of the last round; None if not finite, or if no client participated.
      mean_bits: bits per parameter, mean over the uploads; None without uploads.
      compute_joules: energy of training.
      transmit_joules: energy of uploads.
      uplink_bytes: bytes of uploads.
      full_precision_bytes: bytes of the same uploads in float32.
      full_precision_joules: energy of ``REFERENCE_BASELINES[0]`` for the same client-rounds.
      max_frequency_joules: energy of ``REFERENCE_BASELINES[1]`` for the same client-rounds.
      late: number of uploads of ``REFERENCE_BASELINES[0]`` that miss the deadline.
      client_rounds: number of possible uploads: clients per round, summed over the rounds.
      left_out: number of these without participation.
      settings: fingerprint of its config without the seed.
      extractor: fingerprint of the feature extractor, and ``MEASURE_VERSION``.
    """

    variant: str
    seed: int
    distance_name: str
    distance: float
    floor: float | None
    precision: float
    recall: float
    loss: float | None
    mean_bits: float | None
    compute_joules: float
    transmit_joules: float
    uplink_bytes: int
    full_precision_bytes: int
    full_precision_joules: float
    max_frequency_joules: float
    late: int
    client_rounds: int
    left_out: int
    settings: str
    extractor: str

    @property
    def total_joules(self) -> float:
        """Energy of computing and transmitting, joules."""
        return self.compute_joules + self.transmit_joules

    @property
    def measure(self) -> str:
        """Name of the distance, and its ``MEASURE_VERSION``; 1 if it was not recorded."""
        return f"{self.distance_name}, version {self.extractor.partition('-')[2] or 1}"


class VariantRow(NamedTuple):
    """A variant over its seeds: means of costs and quality, 95 % intervals of the distance.

    A value is None if it is undefined, e.g. if no client ever participated.

    Attributes:
      variant: its name.
      num_seeds: number of runs.
      distance: Fréchet distance of the images.
      difference_percent: of the distance from the reference's with the same seed; None for the
        reference.
      precision: mean over the runs.
      recall: mean over the runs.
      loss: mean of the last losses.
      mean_bits: bits per parameter, mean over the runs.
      compute_joules: of a run, mean.
      transmit_joules: of a run, mean.
      megabytes: uploaded in a run, mean.
      saved_bytes_percent: against the same uploads in float32.
      saved_joules_percent: against full precision with the optimal split of the time.
      saved_joules_percent_max_frequency: against full precision at full frequency.
      less_bytes_than_reference_percent: against the reference's own runs; None for the reference.
      less_joules_than_reference_percent: against the reference's own runs; None for the reference.
      late_percent: late uploads of full precision, in percent of the client-rounds.
      left_out_percent: client-rounds without upload, in percent.
    """

    variant: str
    num_seeds: int
    distance: Interval
    difference_percent: Interval | None
    precision: float
    recall: float
    loss: float | None
    mean_bits: float | None
    compute_joules: float
    transmit_joules: float
    megabytes: float
    saved_bytes_percent: float | None
    saved_joules_percent: float | None
    saved_joules_percent_max_frequency: float | None
    less_bytes_than_reference_percent: float | None
    less_joules_than_reference_percent: float | None
    late_percent: float
    left_out_percent: float

    @property
    def total_joules(self) -> float:
        """Mean energy of a run, joules."""
        return self.compute_joules + self.transmit_joules


def make_row(play: Play, indexed: Mapping[str, Any]) -> RunRow:
    """Returns the row of a finished and evaluated run from that of the sweep's index."""
    full_precision, max_frequency = REFERENCE_BASELINES
    names = ("precision", "recall", "loss", "mean_bits", "compute_joules", "transmit_joules")
    names += ("uplink_bytes", "full_precision_bytes", "client_rounds", "left_out")
    return RunRow(
        variant=play.variant,
        seed=play.seed,
        distance_name=indexed["quality_name"],
        distance=indexed["quality"],
        floor=indexed["quality_floor"],
        full_precision_joules=indexed[f"total_joules.{full_precision}"],
        max_frequency_joules=indexed[f"total_joules.{max_frequency}"],
        late=indexed[f"late.{full_precision}"],
        settings=fingerprint_settings(play.point.config),
        extractor=f"{indexed['extractor_fingerprint']}-{indexed['measure_version']}",
        **{name: indexed[name] for name in names},
    )


def check_same_features(rows: Sequence[RunRow]) -> None:
    """Raises ValueError if runs cannot be compared: all by their measure, a seed's by features."""
    firsts: dict[int, RunRow] = {}
    for row in rows:
        of_seed = firsts.setdefault(row.seed, row)
        for other, name in ((rows[0], "measure"), (of_seed, "extractor")):
            theirs, ours = getattr(other, name), getattr(row, name)
            if theirs != ours:
                raise ValueError(
                    f"{other.variant} with seed {other.seed} was measured by {theirs}, "
                    f"{row.variant} with seed {row.seed} by {ours}, which are not comparable; "
                    "remove evaluation.json of both, and repeat the command: the classifier of "
                    "the comparison's folder measures them again"
                )


def summarize_variants(rows: Sequence[RunRow], reference: str | None = None) -> list[VariantRow]:
    """Returns a row per variant, the reference first.

    Args:
      rows: of two or more seeds, the same for every variant.
      reference: the name of a variant; None: that of the first row.
    """
    first = reference or rows[0].variant
    names = dict.fromkeys([first, *(row.variant for row in rows)])
    runs = {name: [row for row in rows if row.variant == name] for name in names}
    return [_summarize(runs[name], None if name == first else runs[first]) for name in names]


def _summarize(runs: Sequence[RunRow], reference: Sequence[RunRow] | None) -> VariantRow:
    def total(field: str, of: Sequence[RunRow] = runs) -> float:
        return sum(getattr(row, field) for row in of)

    def mean(field: str) -> float:
        return total(field) / len(runs)

    def mean_of_known(field: str) -> float | None:
        known = [value for value in (getattr(row, field) for row in runs) if value is not None]
        return sum(known) / len(known) if known else None

    def saved(field: str, other: float) -> float | None:
        return percent_saved(total(field), other)

    def less_than_reference(field: str) -> float | None:
        return None if reference is None else saved(field, total(field, reference))

    distances = [row.distance for row in runs]
    return VariantRow(
        variant=runs[0].variant,
        num_seeds=len(runs),
        distance=mean_interval(distances),
        difference_percent=(
            None
            if reference is None
            else paired_percent(distances, [row.distance for row in reference])
        ),
        precision=mean("precision"),
        recall=mean("recall"),
        loss=mean_of_known("loss"),
        mean_bits=mean_of_known("mean_bits"),
        compute_joules=mean("compute_joules"),
        transmit_joules=mean("transmit_joules"),
        megabytes=mean("uplink_bytes") / 1e6,
        saved_bytes_percent=saved("uplink_bytes", total("full_precision_bytes")),
        saved_joules_percent=saved("total_joules", total("full_precision_joules")),
        saved_joules_percent_max_frequency=saved("total_joules", total("max_frequency_joules")),
        less_bytes_than_reference_percent=less_than_reference("uplink_bytes"),
        less_joules_than_reference_percent=less_than_reference("total_joules"),
        late_percent=100 * total("late") / total("client_rounds"),
        left_out_percent=100 * total("left_out") / total("client_rounds"),
    )


def to_json(row: VariantRow) -> dict[str, Any]:
    """Returns a row as plain values, intervals as dicts."""
    return {
        name: value._asdict() if isinstance(value, Interval) else value
        for name, value in row._asdict().items()
    }
