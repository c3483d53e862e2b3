"""Parser of the command line."""

import argparse
from typing import Any

from fedjax_diffusion.cli.argument_parser import ArgumentParser
from fedjax_diffusion.cli.descriptions import SWEEP
from fedjax_diffusion.cli.plugin_arguments import add_plugins
from fedjax_diffusion.cli.reading_arguments import add_allocate, add_config, add_export, add_verify
from fedjax_diffusion.host.version import __version__
from fedjax_diffusion.sweep.launchers.engines import ENGINES


def make_parser() -> ArgumentParser:
    """Returns the parser of the command line."""
    parser = ArgumentParser(prog="fedjax-diffusion", allow_abbrev=False)
    parser.description = "Simulate quantized, energy-aware federated training of diffusion models."
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for add in (
        _add_run,
        _add_sample,
        _add_evaluate,
        _add_sweep,
        _add_compare,
        _add_data,
        _add_study,
        _add_report,
        add_allocate,
        add_config,
        add_export,
        add_verify,
    ):
        add(commands)
    parser.commands = commands.choices
    for name, command in parser.commands.items():
        command.show_example(name)
    return parser


def _add_config(command: Any, default: str) -> None:
    command.add_argument(
        "--config",
        default=default,
        metavar="FILE[:ARGUMENT]",
        help=f"file of settings, or the name of one that is included (default: {default}); "
        "`fedjax-diffusion config NAME` shows it",
    )


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        allow_abbrev=False,
        help="train a model; continues an interrupted run, does not repeat a finished one",
        epilog="Change settings by --config.GROUP.KEY=VALUE; `fedjax-diffusion config` lists them.",
    )
    _add_config(run, "configs/digits.py")
    run.add_argument("--workdir", help="folder of the run (default: runs/NAME-OF-THE-CONFIG)")
    run.add_argument(
        "--restart",
        action="store_true",
        help="begin again; what the run has written is moved to WORKDIR/before_restart_N",
    )
    several = run.add_argument_group("several processes (start each with the same command)")
    several.add_argument(
        "--coordinator", metavar="HOST:PORT", help="host and free port of process 0"
    )
    several.add_argument("--num_processes", type=int, metavar="N", help="number of processes")
    several.add_argument("--process_id", type=int, metavar="I", help="its number, 0..N-1")


def _add_sample(commands: Any) -> None:
    sample = commands.add_parser(
        "sample", allow_abbrev=False, help="draw images from the trained model of a run"
    )
    sample.add_argument("--workdir", required=True, help="folder of the run")
    sample.add_argument("--num_samples", type=int, default=64, help="number of images (default 64)")
    sample.add_argument("--sampler", help="ddim or ancestral (default: that of the run)")
    sample.add_argument("--num_steps", type=int, help="steps of ddim (default: as in the run)")
    sample.add_argument("--eta", type=float, help="noise of ddim, 0 to 1 (default: as in the run)")
    sample.add_argument(
        "--guidance_scale", type=float, help="for a run with classes (default: as in the run)"
    )
    sample.add_argument("--seed", type=int, default=0, help="seed of the images (default 0)")
    _add_data_dir(sample)
    add_plugins(sample)
    sample.add_argument(
        "--output",
        help="a .png for one grid, or a folder for one .png per image "
        "(default: WORKDIR/samples/sample_SEED.png)",
    )


def _add_data_dir(command: Any) -> None:
    command.add_argument("--data_dir", metavar="FOLDER", help="where the run's data are now")


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        allow_abbrev=False,
        help="play many runs of one config, each once; continues, and adds points",
        description=SWEEP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sweep.set_defaults(axes=())
    sweep.add_argument(
        "--config",
        metavar="FILE[:ARGUMENT]",
        help="file of settings, perhaps with get_hyper (without: the sweep in --workdir goes on)",
    )
    sweep.add_argument("--workdir", help="folder (default: sweeps/NAME-OF-THE-CONFIG)")
    choice, workers = _add_playing(sweep)
    choice.add_argument("--no_evaluation", action="store_true", help="do not measure images")
    choice.add_argument("--yes", action="store_true", help="play more than 10,000 points")
    workers.add_argument(
        "--worker",
        action="store_true",
        help="play open points of --workdir beside other workers; also on another machine",
    )
    add_plugins(sweep)
    sweep.add_argument(
        "--reference",
        metavar="GLOB",
        help="the index states each point's savings against this one, by label or hash; seeds are "
        "paired",
    )


def _add_playing(command: Any) -> tuple[Any, Any]:
    """Adds the arguments of everything that plays points; returns two groups for more of them."""
    look = command.add_argument_group("without playing")
    look.add_argument("--dry_run", action="store_true", help="list what would be played")
    look.add_argument("--status", action="store_true", help="show the state of --workdir")
    look.add_argument("--watch", action="store_true", help="with --status: until all is done")
    choice = command.add_argument_group("which points")
    choice.add_argument("--only", metavar="GLOB", help="those whose label or hash matches, or a,b")
    choice.add_argument("--limit", type=int, metavar="N", help="at most N points now")
    choice.add_argument("--retry", action="store_true", help="failed points too, once each")
    choice.add_argument("--fail_fast", action="store_true", help="stop at the first failure")
    workers = command.add_argument_group("several processes")
    workers.add_argument(
        "--launcher",
        choices=[*ENGINES],
        help="local: start workers on this machine, and wait for them; slurm, ray: on a cluster, "
        "and end; --slurm.KEY=VALUE and --ray.KEY=VALUE are its settings (docs/clusters.md)",
    )
    command.set_defaults(settings=())
    workers.add_argument("--workers", type=int, metavar="N", help="their number")
    return choice, workers


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        allow_abbrev=False,
        help="train and evaluate several variants with the same seeds; continues if interrupted",
        epilog="Choose variants and seeds by --config.compare.KEY=VALUE, see `fedjax-diffusion "
        "config`. "
        "The folder is that of a sweep, whose points are labelled VARIANT+seed-SEED: "
        "fedjax-diffusion sweep --workdir=... --worker plays them too.",
    )
    _add_config(compare, "configs/paper_digits.py")
    compare.add_argument(
        "--workdir", help="folder of the comparison (default: comparisons/NAME-OF-THE-CONFIG)"
    )
    compare.add_argument(
        "--earlier",
        nargs="+",
        default=[],
        metavar="RUNS.csv",
        help="results of the same comparison from other folders, also of other variants or seeds; "
        "their runs are not repeated",
    )
    _add_playing(compare)


def _add_data(commands: Any) -> None:
    data = commands.add_parser(
        "data",
        allow_abbrev=False,
        help="check and describe a data set; draw each client's part of it",
        epilog="Change it by --config.partition.KEY=VALUE, see `fedjax-diffusion config`.",
    )
    data.add_argument(
        "--name",
        help="digits, folder, npz, or a TFDS name: cifar10, celeb_a, ... (default: the config's)",
    )
    data.add_argument(
        "--data_dir", metavar="PATH", help="own folder or .npz file; the folder of TFDS data sets"
    )
    data.add_argument("--size", type=int, help="pixels, side of the squares made of own pictures")
    data.add_argument("--split", help="part: train, test, train[:512], ... (default: the config's)")
    _add_config(data, "configs/digits.py")
    data.add_argument(
        "--output",
        metavar="FOLDER",
        help="folder for the pictures (default: data_reports/NAME-SPLIT)",
    )


def _add_study(commands: Any) -> None:
    study = commands.add_parser(
        "study",
        allow_abbrev=False,
        help="compare the energy of methods over deadlines and distances, without training",
        epilog="Change any of it by --config.study.KEY=VALUE, see `fedjax-diffusion config`.",
    )
    _add_config(study, "configs/digits.py")
    study.add_argument(
        "--workdir", help="folder of the study (default: studies/NAME-OF-THE-CONFIG)"
    )


def _add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        allow_abbrev=False,
        help="write one HTML page on a run, comparison, study or sweep: verdict, tables, figures",
        epilog="The page is one file that loads nothing from elsewhere. It is made from the files "
        "of the folder alone, also while the runs go on.",
    )
    report.add_argument("--workdir", required=True, help="folder of the run or of the many runs")
    report.add_argument(
        "--output", metavar="FILE.html", help="file of the page (default: WORKDIR/report.html)"
    )
    report.add_argument(
        "--figures", metavar="FOLDER", help="folder for the figures as files for print"
    )
    report.add_argument(
        "--format",
        choices=["pdf", "svg", "png"],
        default="pdf",
        help="of the files in --figures (default: pdf)",
    )
    add_plugins(report)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        allow_abbrev=False,
        help="measure the quality of a run's images, or of a folder of PNGs",
    )
    evaluate.add_argument("--workdir", help="folder of the run")
    evaluate.add_argument("--images", metavar="FOLDER", help="folder of .png files, one image each")
    evaluate.add_argument(
        "--config",
        metavar="FILE[:ARGUMENT]",
        help="only for --images: config whose group `data` gives the real images "
        "(default: configs/digits.py)",
    )
    evaluate.add_argument(
        "--num_samples", type=int, help="images drawn from the run (default: as in the run, 5000)"
    )
    evaluate.add_argument(
        "--inception_weights",
        metavar="FILE",
        help="weights of the 2015 Inception network, .pth or .npz, for FID; without them a small "
        "classifier is trained on the same data, and the distance is called fcd; images "
        "without labels are measured by a network with random weights: frechet_random_features",
    )
    evaluate.add_argument(
        "--held_out_split",
        metavar="SPLIT",
        help="split of real images whose distance is shown for comparison; none switches it off "
        "(default: as in the run, test)",
    )
    _add_data_dir(evaluate)
    add_plugins(evaluate)
    evaluate.add_argument(
        "--output", metavar="FILE.json", help="file for the results (default: none)"
    )
