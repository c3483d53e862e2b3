"""Settings of a report over their seeds: cost, quality, and difference from the reference."""

from typing import Any

from fedjax_diffusion.report.settings import Setting, list_settings, split_by_measure
from fedjax_diffusion.report.statistics import Difference, compare_settings
from fedjax_diffusion.report.tables import ReportTables
from fedjax_diffusion.sweep.pairs import mean_interval

_MIN_SEEDS = 3
"""Seeds from which on an interval is narrow enough to be read."""
_QUALITY, _JOULES = "quality", "total_joules"


def tabulate_settings(tables: ReportTables) -> list[dict[str, Any]]:
    """Returns a row per setting: means over its finished seeds, 95 % intervals of three or more.

    With a reference, also the differences from it, paired by seed, with Holm's verdict. A value is
    None where no run is finished, or too few are.
    """
    measured = split_by_measure(tables)
    settings = list_settings(tables)
    comparable = list_settings(next(iter(measured.values()))) if measured else []
    qualities = {setting.name: setting for setting in comparable}
    name = next(iter(measured), _QUALITY)
    joules, distances = (
        {difference.setting: difference for difference in compare_settings(of, column)}
        for of, column in ((settings, _JOULES), (comparable, _QUALITY))
    )
    return [
        {
            "setting": setting.name + " (reference)" * setting.is_reference,
            "seeds": len(setting.values(_JOULES)),
            "J a run": _mean(setting, _JOULES),
            "uploaded MB a run": _mean(setting, "uplink_bytes", 1e-6),
            "loss": _mean(setting, "loss"),
            **_spread(name, qualities.get(setting.name)),
            **_format("J against reference", joules.get(setting.name)),
            **_format(f"{name}, against reference", distances.get(setting.name)),
        }
        for setting in settings
    ]


def _mean(setting: Setting | None, column: str, unit: float = 1.0) -> float | None:
    return setting.mean(column) * unit if setting is not None and setting.values(column) else None


def _spread(name: str, setting: Setting | None) -> dict[str, float | None]:
    values = [] if setting is None else [*setting.values(_QUALITY).values()]
    low, high = mean_interval(values)[1:] if len(values) >= _MIN_SEEDS else (None, None)
    return {name: _mean(setting, _QUALITY), "95 % from": low, "95 % to": high}


def _format(name: str, difference: Difference | None) -> dict[str, Any]:
    if difference is None:
        return {f"{name}, %": None, f"{name}: interval and verdict": None}
    mean, low, high = difference.percent
    verdict = f"{low:+.1f} to {high:+.1f} % ({difference.num_seeds} seeds): {difference.verdict}"
    return {f"{name}, %": mean, f"{name}: interval and verdict": verdict}
