"""Commands that read files and train nothing: config, export, verify.

Each command imports its modules when called, as those in ``commands``.
"""

from argparse import Namespace

from fedjax_diffusion.cli.plugin_arguments import open_plugins_of

EXIT_INVALID = 1

Overrides = dict[str, str]
"""Changed values of the config, by dotted key."""


def config(arguments: Namespace, overrides: Overrides) -> int:
    """Shows the settings of a config, or those in which two differ."""
    from fedjax_diffusion.cli.config import format_config, format_difference, is_run

    for name in filter(None, (arguments.config, arguments.diff)):
        if is_run(name):
            open_plugins_of(arguments, name)
    if arguments.diff is None:
        print(format_config(arguments.config, overrides))
    else:
        print(format_difference(arguments.config, overrides, arguments.diff))
    return 0


def export(arguments: Namespace, overrides: Overrides) -> int:
    """Writes the weights of a run into a file."""
    from fedjax_diffusion.runs.export import export as export_weights

    open_plugins_of(arguments)
    path = export_weights(
        arguments.workdir,
        output=arguments.output,
        format=arguments.format,
        model=arguments.model,
    )
    print(path)
    return 0


def verify(arguments: Namespace, overrides: Overrides) -> int:
    """Checks an allocation against its problem."""
    from fedjax_diffusion.allocation.io.json_files import read_allocation, read_problem
    from fedjax_diffusion.allocation.method_spec import parse_method
    from fedjax_diffusion.allocation.verification.verification import verify as verify_allocation
    from fedjax_diffusion.host.plugins import import_plugins

    import_plugins(arguments.plugins)
    facts = parse_method(arguments.method).method
    verification = verify_allocation(
        read_problem(arguments.problem, arguments.clients),
        read_allocation(arguments.allocation),
        respects_limits=facts.respects_limits,
        respects_budget=facts.respects_budget,
    )
    print(verification)
    return 0 if verification.is_valid else EXIT_INVALID
