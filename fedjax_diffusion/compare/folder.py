"""Folder of a comparison: a run folder per variant and seed, and their joint results."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_diffusion.compare.figure import draw_comparison
from fedjax_diffusion.compare.rows import RunRow, VariantRow, read_run, summarize_variants, to_json
from fedjax_diffusion.compare.runs_csv import write_runs
from fedjax_diffusion.compare.variants import Play, fingerprint_settings, list_plays
from fedjax_diffusion.experiment.build import check_config
from fedjax_diffusion.experiment.compare_config import CompareConfig
from fedjax_diffusion.experiment.config import GivenConfig, to_run_config
from fedjax_diffusion.host.progress import SILENT, Progress
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.runs.evaluate import check_evaluation, evaluate
from fedjax_diffusion.runs.records import CONFIG, EVALUATION, SUMMARY, write_json
from fedjax_diffusion.runs.runner import check_same_config, run

TABLE = "runs.csv"
FIGURE = "figures/quality.png"

OnPlay = Callable[[Play, RunRow], Any]
"""Callback after each run, with its row."""
OnProgress = Callable[[Play, str, int], Any]
"""Callback within a run, with the unit, ``"round"`` or ``"image"``, and the number done."""
Track = Callable[[Sequence[Play]], Iterable[Play]]
"""Wrapper of the iteration over runs, as ``tqdm``."""


class Comparison(NamedTuple):
    """A finished comparison.

    Attributes:
      workdir: its folder.
      runs: one row per run.
      variants: one row per variant, the reference first.
    """

    workdir: Path
    runs: list[RunRow]
    variants: list[VariantRow]


def run_comparison(
    config: GivenConfig,
    workdir: str | Path,
    *,
    earlier: Sequence[RunRow] = (),
    track: Track = iter,
    on_play: OnPlay | None = None,
    on_progress: OnProgress | None = None,
    progress: Progress = SILENT,
) -> Comparison:
    """Trains and evaluates every variant with every seed, and compares runs of the same seed.

    Each run has an ordinary run folder, ``workdir/VARIANT/seed_SEED``. Finished runs are not
    repeated and an interrupted run is continued, also if seeds or variants were added. Writes
    ``runs.csv``, ``summary.json`` and a figure, updated after every seed.

    Args:
      config: from ``load_config``, or a ``RunConfig``; its group ``compare`` lists the variants.
      workdir: the folder of the comparison, created if needed.
      earlier: runs of other folders or machines, from ``read_runs``; those of the requested seeds
        are used without running them again.
      track: wraps the runs.
      on_play: called after each run.
      on_progress: called now and then within a run.
      progress: shows trials and compilation within a run.

    Raises:
      ValueError: a setting is invalid, a folder holds a run of another config, an earlier run has
        other settings, or runs of a seed were measured by different features.
    """
    config, workdir = to_run_config(config), Path(workdir)
    plays = list_plays(config)
    known = _match(plays, earlier)
    _check_folder(workdir)
    _check_plays([play for play in plays if play[:2] not in known], workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / CONFIG, config.to_dict())
    num_variants = len(config.compare.variants)
    rows: list[RunRow] = []
    for play in track(plays):
        row = known.get(play[:2]) or _play(play, _run_folder(play, workdir), on_progress, progress)
        _check_same_features(rows, row)
        rows.append(row)
        if on_play is not None:
            on_play(play, row)
        if len(rows) % num_variants == 0 and len(rows) >= 2 * num_variants:
            _write(workdir, rows, config.compare)
    return Comparison(workdir, rows, summarize_variants(rows, config.compare.reference))


def _play(play: Play, workdir: Path, on_progress: OnProgress | None, progress: Progress) -> RunRow:
    def tell(unit: str, number: int) -> None:
        if on_progress is not None:
            on_progress(play, unit, number)

    def tell_round(line: dict) -> None:
        tell("round", line["round"] + 1)

    run(play.config, workdir, on_record=tell_round, progress=progress)
    evaluate(workdir, on_progress=lambda number: tell("image", number))
    return read_run(workdir, play)


def _check_plays(plays: Sequence[Play], workdir: Path) -> None:
    """Raises the errors that would stop a run later, before the first run begins.

    Checks the first run of each variant that is not evaluated yet, and the folders of all runs.
    """
    firsts: dict[str, Play] = {}
    for play in plays:
        check_same_config(play.config, _run_folder(play, workdir))
        if not (_run_folder(play, workdir) / EVALUATION).exists():
            firsts.setdefault(play.variant, play)
    for play in firsts.values():
        missing = [
            baseline
            for baseline in REFERENCE_BASELINES
            if baseline not in play.config.allocator.baselines
        ]
        if missing:
            raise ValueError(
                f"allocator.baselines must hold {' and '.join(REFERENCE_BASELINES)}, to which "
                f"savings refer; {play.variant} has no {missing[0]}"
            )
        try:
            check_config(play.config)
            check_evaluation(play.config)
        except ValueError as error:
            raise ValueError(f"variant {play.variant}: {error}") from None


def _run_folder(play: Play, workdir: Path) -> Path:
    return workdir / play.variant / f"seed_{play.seed}"


def _match(plays: Sequence[Play], earlier: Sequence[RunRow]) -> dict[tuple[str, int], RunRow]:
    """Returns those earlier runs that are requested, by variant and seed."""
    asked = {play[:2]: fingerprint_settings(play.config) for play in plays}
    known = {}
    for row in earlier:
        if row[:2] not in asked:
            continue
        if row.settings != asked[row[:2]]:
            raise ValueError(
                f"the earlier run of {row.variant} with seed {row.seed} was played with other "
                f"settings (fingerprint {row.settings}, now {asked[row[:2]]}); leave it out, or "
                "use its config"
            )
        known[row[:2]] = row
    return known


def _check_same_features(rows: Sequence[RunRow], row: RunRow) -> None:
    """Raises if a run cannot be compared with the others, of its seed or of all seeds."""
    for other in rows:
        names = [(each.distance_name, each.measure_version) for each in (other, row)]
        if names[0] != names[1]:
            raise ValueError(
                f"{other.variant} with seed {other.seed} was measured as {names[0][0]}, version "
                f"{names[0][1]}, {row.variant} with seed {row.seed} as {names[1][0]}, version "
                f"{names[1][1]}: measure all runs with the same one"
            )
        if other.seed == row.seed and other.extractor != row.extractor:
            raise ValueError(
                f"seed {row.seed}: {other.variant} and {row.variant} were measured by different "
                f"features ({other.extractor} and {row.extractor}); run the whole seed on one "
                "machine"
            )


def _check_folder(workdir: Path) -> None:
    if workdir.is_file():
        raise ValueError(f"{workdir} is a file; choose another --workdir")
    if (workdir / "metrics.jsonl").exists():
        raise ValueError(f"{workdir} is the folder of a single run; choose another --workdir")


def _write(workdir: Path, runs: Sequence[RunRow], settings: CompareConfig) -> None:
    variants = summarize_variants(runs, settings.reference)
    tolerance_percent = settings.tolerance_percent
    write_runs(workdir / TABLE, runs)
    summary = {
        "reference": variants[0].variant,
        "tolerance_percent": tolerance_percent,
        "distance": runs[0].distance_name,
        "variants": [to_json(row) for row in variants],
    }
    write_json(workdir / SUMMARY, summary)
    path = workdir / FIGURE
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_comparison(variants, runs, tolerance_percent).savefig(path, dpi=120)
