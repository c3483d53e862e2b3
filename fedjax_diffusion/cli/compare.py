"""The command ``compare``: its arguments, and what it prints."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from fedjax_diffusion.cli.sweep import finish, play_points, read_options
from fedjax_diffusion.cli.sweep_status import show_status
from fedjax_diffusion.compare import conclude, format_comparison, open_comparison, read_runs
from fedjax_diffusion.experiment.config import load_config, name_config
from fedjax_diffusion.sweep.dry_run import format_dry_run


def play(arguments: Namespace, overrides: Mapping[str, str]) -> int:
    """Plays, describes or plans a comparison, and returns the exit code."""
    config = load_config(arguments.config, overrides)
    workdir = Path(arguments.workdir or f"comparisons/{name_config(arguments.config)}")
    if arguments.status:
        return show_status(workdir, is_watching=arguments.watch)
    earlier = [row for path in arguments.earlier for row in read_runs(path)]
    comparison = open_comparison(
        config, workdir, read_options(arguments), earlier, is_dry=arguments.dry_run
    )
    sweep, options = comparison.sweep, comparison.options
    if arguments.dry_run:
        print(format_dry_run(sweep, options))
        return 0
    num_dead = play_points(arguments, workdir, options, lambda: conclude(comparison))
    exit_code = finish(sweep, num_dead)
    done = conclude(comparison)
    if done.variants:
        print(format_comparison(done.variants, done.runs, config.compare.tolerance_percent))
    if done.missing:
        shown = ", ".join(done.missing[:3]) + ", ..." * (len(done.missing) > 3)
        advice = "the table holds seeds that all variants have finished, two or more"
        print(f"\n{len(done.missing)} runs are not finished ({shown}); {advice}", file=sys.stderr)
    print(f"\n{done.workdir}")
    return exit_code
