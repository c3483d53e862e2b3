"""Commands of the command line: each reads its arguments, calls the package and prints.

Each command imports its modules when called, so ``--help`` and a wrong argument respond at once.
"""

import functools
import sys
from argparse import Namespace
from collections.abc import Callable

from fedjax_diffusion.cli.plugin_arguments import open_plugins_of
from fedjax_diffusion.cli.reading_commands import EXIT_INVALID, Overrides, config, export, verify

EXIT_INFEASIBLE = 3


def run(arguments: Namespace, overrides: Overrides) -> int:
    """Trains to the last round, or to the early end of a run that diverged."""
    from fedjax_diffusion.cli.console import RunDisplay
    from fedjax_diffusion.experiment.config import load_config, name_config
    from fedjax_diffusion.host.interruption import catch_signals
    from fedjax_diffusion.host.processes import join_processes
    from fedjax_diffusion.runs import runner
    from fedjax_diffusion.runs.learning import check_learned

    config = load_config(arguments.config, overrides)
    workdir = arguments.workdir or f"runs/{name_config(arguments.config)}"
    places = (arguments.coordinator, arguments.num_processes, arguments.process_id)
    if any(place is not None for place in places):
        if None in places:
            raise ValueError("give all of --coordinator, --num_processes, --process_id, or none")
        join_processes(*places)
    with catch_signals() as interruption:
        play = functools.partial(
            runner.run, config, workdir, interruption=interruption, restart=arguments.restart
        )
        if arguments.process_id:  # process 0 writes and prints
            result = play()
        else:
            with RunDisplay(config.num_rounds) as display:
                result = play(on_start=display.start, on_record=display.advance, progress=display)
            display.finish(result)
    check_learned(result.summary, config.stop_after_diverged_rounds)
    return 0


def sample(arguments: Namespace, overrides: Overrides) -> int:
    """Draws images from a run."""
    open_plugins_of(arguments)
    from fedjax_diffusion.runs.sample import sample as draw_images

    path = draw_images(
        arguments.workdir,
        num_samples=arguments.num_samples,
        sampler=arguments.sampler,
        num_steps=arguments.num_steps,
        eta=arguments.eta,
        guidance_scale=arguments.guidance_scale,
        seed=arguments.seed,
        output=arguments.output,
        data_dir=arguments.data_dir,
    )
    print(path)
    return 0


def evaluate(arguments: Namespace, overrides: Overrides) -> int:
    """Measures the quality of a run's images, or of a folder of PNGs."""
    from pathlib import Path

    from fedjax_diffusion.cli.console import count_up
    from fedjax_diffusion.experiment.config import load_config
    from fedjax_diffusion.host.outputs import check_output, is_own_json
    from fedjax_diffusion.runs.evaluate import evaluate, evaluate_folder
    from fedjax_diffusion.runs.records import write_json
    from fedjax_diffusion.runs.text import format_quality

    if (arguments.workdir is None) == (arguments.images is None):
        raise ValueError("give either --workdir, a run folder, or --images, a folder of PNGs")
    output = None if arguments.output is None else Path(arguments.output)
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        raise ValueError(f"--output: {output} must be a file in an existing folder")
    if output is not None:
        check_output(output, lambda path: is_own_json(path, "measure_version", "num_samples"))
    names = ("num_samples", "inception_weights", "held_out_split")
    given = {name: getattr(arguments, name) for name in names}
    changed = {name: value for name, value in given.items() if value is not None}
    if changed.get("held_out_split") == "none":
        changed["held_out_split"] = None
    if arguments.workdir is not None:
        if overrides or arguments.config:
            raise ValueError("--config is only for --images: a run has its own config")
        open_plugins_of(arguments)
        with count_up("image") as on_progress:
            quality = evaluate(
                arguments.workdir, changed, on_progress=on_progress, data_dir=arguments.data_dir
            )
    else:
        if arguments.plugins or arguments.trust_plugins:
            raise ValueError("--plugins is only for --workdir: a config has its own plugins")
        if arguments.num_samples is not None:
            raise ValueError("--num_samples is only for --workdir: all --images are measured")
        overrides |= {f"evaluation.{name}": value for name, value in changed.items()}
        if arguments.data_dir is not None:
            overrides["data.data_dir"] = arguments.data_dir
        config = load_config(arguments.config or "configs/digits.py", overrides)
        quality = evaluate_folder(arguments.images, config)
    print(format_quality(quality))
    if output is not None:
        write_json(output, quality)
    return 0


def compare(arguments: Namespace, overrides: Overrides) -> int:
    """Runs every variant with every seed and compares them."""
    from fedjax_diffusion.cli.sweep_arguments import check_playing

    check_playing(arguments)
    from fedjax_diffusion.cli.compare import play

    return play(arguments, overrides)


def sweep(arguments: Namespace, overrides: Overrides) -> int:
    """Plays many runs of one config."""
    from fedjax_diffusion.cli.sweep_arguments import check_arguments

    check_arguments(arguments, overrides)
    if arguments.status:
        from fedjax_diffusion.cli.sweep_status import show_status

        return show_status(arguments.workdir, is_watching=arguments.watch)
    if arguments.config is None:
        open_plugins_of(arguments)
    from fedjax_diffusion.cli.sweep import play

    return play(arguments, overrides)


def data(arguments: Namespace, overrides: Overrides) -> int:
    """Checks and describes a data set, and draws each client's part of it."""
    from pathlib import Path

    from fedjax_diffusion.data import describe_partition, load_images, partition
    from fedjax_diffusion.data.image_cache import to_file_name
    from fedjax_diffusion.data.report import (
        describe,
        draw_examples,
        draw_partition,
        format_description,
    )
    from fedjax_diffusion.experiment.config import load_config, to_run_config
    from fedjax_diffusion.host.figures import pictures_may_fail
    from fedjax_diffusion.host.outputs import check_output, check_place, is_own_picture

    given = {name: getattr(arguments, name) for name in ("name", "split", "data_dir", "size")}
    changed = {f"data.{name}": value for name, value in given.items() if value is not None}
    config = to_run_config(load_config(arguments.config, {**overrides, **changed}))
    dataset = load_images(**vars(config.data), verify=True)
    parts = partition(dataset.labels, config.partition, seed=config.seed)
    title = to_file_name(f"{dataset.name}-{config.data.split}")
    folder = Path(arguments.output or f"data_reports/{title}")
    examples, clients = folder / "examples.png", folder / "clients.png"
    for path in (examples, clients) if arguments.output else ():
        if path.is_file():
            check_output(path, is_own_picture)
    try:
        check_place(folder)
        for path in filter(Path.is_dir, (examples, clients)):
            raise IsADirectoryError(f"{path} is a folder")
    except OSError as error:
        raise ValueError(
            f"--output must be a writable folder, got {str(folder)!r} ({error})"
        ) from error
    with pictures_may_fail():
        draw_examples(dataset, examples)
        draw_partition(dataset.labels, parts, dataset.class_names, clients)
    print(format_description(describe(dataset), describe_partition(dataset.labels, parts)))
    print(examples, clients, sep="\n")
    return 0


def study(arguments: Namespace, overrides: Overrides) -> int:
    """Compares energy over deadlines and distances."""
    from fedjax_diffusion.cli.console import track_with
    from fedjax_diffusion.experiment.config import load_config, name_config
    from fedjax_diffusion.study import format_paths, format_study, run_study

    config = load_config(arguments.config, overrides)
    workdir = arguments.workdir or f"studies/{name_config(arguments.config)}"
    finished = run_study(config, workdir, track=track_with("setting"))
    print(format_study(finished.summary, finished.points))
    print(format_paths(finished.workdir))
    return 0


def report(arguments: Namespace, overrides: Overrides) -> int:
    """Writes the page of a run, comparison, study or sweep."""
    from pathlib import Path

    from fedjax_diffusion.host.outputs import check_output, check_place
    from fedjax_diffusion.report.kinds import PAGE, find_kind, is_own_page

    workdir = Path(arguments.workdir)
    find_kind(workdir)
    output = Path(arguments.output) if arguments.output else workdir / PAGE
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--output must end in .html, got {output}")
    check_output(output, is_own_page)
    if arguments.figures:
        try:
            check_place(Path(arguments.figures))
        except OSError as error:
            raise ValueError(f"--figures={arguments.figures}: {error.strerror}") from None
    open_plugins_of(arguments)
    from fedjax_diffusion.cli.report import write

    return write(workdir, output, arguments.figures and Path(arguments.figures), arguments.format)


def allocate(arguments: Namespace, overrides: Overrides) -> int:
    """Solves one allocation problem."""
    from pathlib import Path

    from fedjax_diffusion.allocation.io.json_files import (
        check_suffix,
        is_own_answer,
        read_problem,
        write_allocation,
    )
    from fedjax_diffusion.allocation.io.table import allocation_table
    from fedjax_diffusion.allocation.method_spec import parse_method
    from fedjax_diffusion.allocation.solution import solve
    from fedjax_diffusion.host.outputs import check_output
    from fedjax_diffusion.host.plugins import import_plugins

    import_plugins(arguments.plugins)
    if arguments.output:
        check_suffix(arguments.output)
        check_output(Path(arguments.output), is_own_answer)
    problem = read_problem(arguments.problem, arguments.clients)
    allocation, verification = solve(problem, arguments.method, is_refined=arguments.refine)
    if not verification.is_valid:
        print(verification, file=sys.stderr)
        return EXIT_INVALID
    if arguments.output:
        write_allocation(arguments.output, allocation)
    print(allocation_table(allocation))
    print("verified: every limit and cost recomputed")
    reasons = allocation.explain(problem, parse_method(arguments.method).method.respects_budget)
    for line in reasons:
        print(line, file=sys.stderr)
    return EXIT_INFEASIBLE if reasons else 0


COMMANDS: dict[str, Callable[[Namespace, Overrides], int]] = {
    command.__name__: command
    for command in (
        *(run, sample, evaluate, sweep, compare, data, study, report, allocate),
        *(config, export, verify),
    )
}
"""Commands by name; each returns an exit code."""
