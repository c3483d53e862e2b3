"""What each command does: it reads its arguments, calls the package and prints.

What a command needs is imported when it is called: ``--help`` and a wrong argument answer at once.
"""

import sys
from argparse import Namespace
from collections.abc import Callable

EXIT_INVALID = 1
EXIT_INFEASIBLE = 3

Overrides = dict[str, str]
"""Of the config, by dotted key."""


def run(arguments: Namespace, overrides: Overrides) -> int:
    """Trains to the last round."""
    from fedjax_diffusion import runner
    from fedjax_diffusion.config import load_config, name_config
    from fedjax_diffusion.console import RunDisplay
    from fedjax_diffusion.processes import join_processes

    config = load_config(arguments.config, overrides)
    workdir = arguments.workdir or f"runs/{name_config(arguments.config)}"
    places = (arguments.coordinator, arguments.num_processes, arguments.process_id)
    if any(place is not None for place in places):
        if None in places:
            raise ValueError("give all of --coordinator, --num_processes, --process_id, or none")
        join_processes(*places)
    if arguments.process_id:
        runner.run(config, workdir)  # process 0 writes and talks
        return 0
    with RunDisplay(config.num_rounds) as display:
        result = runner.run(config, workdir, on_start=display.start, on_record=display.advance)
    display.finish(result)
    return 0


def sample(arguments: Namespace, overrides: Overrides) -> int:
    """Draws images from a run."""
    from fedjax_diffusion import runner

    path = runner.sample(
        arguments.workdir,
        num_samples=arguments.num_samples,
        sampler=arguments.sampler,
        num_steps=arguments.num_steps,
        seed=arguments.seed,
        output=arguments.output,
    )
    print(path)
    return 0


def study(arguments: Namespace, overrides: Overrides) -> int:
    """Compares energy over deadlines and distances."""
    from fedjax_diffusion.config import load_config, name_config
    from fedjax_diffusion.console import track_with
    from fedjax_diffusion.study import format_paths, format_study, run_study

    config = load_config(arguments.config, overrides)
    workdir = arguments.workdir or f"studies/{name_config(arguments.config)}"
    finished = run_study(config, workdir, track=track_with("setting"))
    print(format_study(finished.summary, finished.points))
    print(format_paths(finished.workdir))
    return 0


def allocate(arguments: Namespace, overrides: Overrides) -> int:
    """Solves one allocation problem."""
    from fedjax_diffusion.resources.files import check_suffix, read_problem, write_allocation
    from fedjax_diffusion.resources.solution import solve
    from fedjax_diffusion.resources.table import allocation_table

    if arguments.output:
        check_suffix(arguments.output)
    problem = read_problem(arguments.problem, arguments.clients)
    allocation, verification = solve(problem, arguments.method, is_refined=arguments.refine)
    if not verification.is_valid:
        print(verification, file=sys.stderr)
        return EXIT_INVALID
    if arguments.output:
        write_allocation(arguments.output, allocation)
    print(allocation_table(allocation))
    print("verified: every limit and cost recomputed")
    reasons = allocation.explain(problem)
    for line in reasons:
        print(line, file=sys.stderr)
    return EXIT_INFEASIBLE if reasons else 0


COMMANDS: dict[str, Callable[[Namespace, Overrides], int]] = {
    command.__name__: command for command in (run, sample, study, allocate)
}
"""Every command by its name; each returns an exit code."""
