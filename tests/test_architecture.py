"""The structure of the package, held by a walk over its syntax trees."""

import ast
import graphlib
import itertools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = "fedjax_diffusion"

# Lowest first. A unit is a module or a sub-package of the package; it imports itself and lower
# layers, and none of its own layer.
LAYERS = (
    {"types"},
    {"atomic", "compile_cache", "keys", "optimizers", "pictures", "error_budget"},
    {"guesses", "platforms", "processes", "progress"},
    {"data", "diffusion", "quantization", "resources", "measurements"},
    {"federated", "evaluation"},
    {"simulator", "workload", "opponents", "tuning"},
    {"conditions", "prediction", "traffic"},
    {"planner"},
    {"config", "hardware", "checkpoints", "quality", "records", "sampling"},
    {"learner", "memory", "scenario"},
    {"trials"},
    {"data_report", "experiment", "report"},
    {"environment"},
    {"rounds"},
    {"runner"},
    {"run_quality"},
    {"compare", "console", "study", "sweep"},
    {"__init__"},
    {"commands", "parser"},
    {"cli"},
    {"__main__"},
)
RANKS = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}

# The same within ``resources``, of which a unit is a module or a sub-package.
RESOURCE_LAYERS = (
    {"costs", "float64", "ledger", "status"},
    {"problem"},
    {"devices", "search"},
    {"band", "channel"},
    {"explanation"},
    {"allocation"},
    {"clients_csv", "late", "methods", "table", "verification"},
    {"allocator", "files"},
    {"refinement"},
    {"solution"},
    {"__init__"},
)
RESOURCE_RANKS = {unit: rank for rank, layer in enumerate(RESOURCE_LAYERS) for unit in layer}

# What a unit must not know although it lies lower.
BLIND_TO = {
    "federated": {"diffusion", "resources"},
    "evaluation": {"quantization", "resources"},
    "simulator": {"diffusion", "evaluation"},
    "workload": {"diffusion", "evaluation"},
    "planner": {"diffusion", "evaluation"},
}
MAY_USE_CONFIG_DICT = {"config", "experiment", "runner", "sweep"}


def path_to_module(path: pathlib.Path) -> str:
    """Returns the dotted name of a file, ``package.__init__`` for a package itself."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def read_trees(*folders: str) -> dict[str, ast.Module]:
    """Returns module name -> syntax tree, of all Python files below the folders."""
    paths = itertools.chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders)
    return {path_to_module(path): ast.parse(path.read_text()) for path in sorted(paths)}


TREES = read_trees(PACKAGE)
RESOURCES = [module for module in TREES if module.startswith(f"{PACKAGE}.resources.")]


def names_imported(tree: ast.AST) -> set[str]:
    """Returns all dotted names that a tree imports, anywhere; ``from a import b`` gives ``a.b``."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names |= {f"{prefix}.{alias.name}" for alias in node.names}
    return names


def modules_imported(tree: ast.AST, known: set[str]) -> set[str]:
    """Returns the modules of the package, out of ``known``, that a tree imports.

    Reading the version, a string in the package's ``__init__``, is no dependency.
    """
    modules = set()
    for name in names_imported(tree) - {f"{PACKAGE}.__version__"}:
        parts = name.split(".")
        # The longest known prefix: ``a.b.f`` is the module a.b if it exists, else the package a.
        prefixes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        candidates = [module for p in prefixes for module in (p, f"{p}.__init__")]
        modules |= set(itertools.islice((m for m in candidates if m in known), 1))
    return modules


def module_to_unit(module: str) -> str:
    """Returns the unit of a module: ``fedjax_diffusion.data.clients`` -> data."""
    return module.split(".")[1]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import p.a.x", {"p.a.x"}),
        ("from p.a import x", {"p.a.x"}),
        ("from p.a.x import f", {"p.a.x"}),
        ("from p.a import f", {"p.a.__init__"}),
        ("from p import f", {"p.__init__"}),
        ("import numpy, p.b as b", {"p.b"}),
        ("def f():\n  from p import b", {"p.b"}),
        ("from . import b", set()),
    ],
)
def test_the_walk_sees_every_form_of_import(source, expected):
    known = {"p.__init__", "p.a.__init__", "p.a.x", "p.b"}
    assert modules_imported(ast.parse(source), known) == expected


def test_every_part_has_a_place_in_the_layers():
    homeless = {module_to_unit(module) for module in TREES} - RANKS.keys()
    assert not homeless, f"place {sorted(homeless)} in LAYERS of {pathlib.Path(__file__).name}"


@pytest.mark.parametrize("module", TREES)
def test_imports_point_down(module):
    unit = module_to_unit(module)
    assert not any(name.startswith(".") for name in names_imported(TREES[module])), "be absolute"
    imported = {module_to_unit(name) for name in modules_imported(TREES[module], set(TREES))}
    lower = {other for other in RANKS if RANKS[other] < RANKS[unit]} - BLIND_TO.get(unit, set())
    forbidden = imported - lower - {unit}
    assert not forbidden, f"{module} must not import {sorted(forbidden)}"


def module_to_resource(module: str) -> str:
    """Returns the unit of a module of ``resources``: ``...resources.band.need`` -> band."""
    return module.split(".")[2]


def test_every_part_of_resources_has_a_place():
    homeless = {module_to_resource(module) for module in RESOURCES} - RESOURCE_RANKS.keys()
    assert not homeless, f"place {sorted(homeless)} in RESOURCE_LAYERS"


@pytest.mark.parametrize("module", RESOURCES)
def test_imports_within_resources_point_down(module):
    unit = module_to_resource(module)
    imported = {
        module_to_resource(name)
        for name in modules_imported(TREES[module], set(TREES)) & set(RESOURCES)
    }
    lower = {other for other in RESOURCE_RANKS if RESOURCE_RANKS[other] < RESOURCE_RANKS[unit]}
    forbidden = imported - lower - {unit}
    assert not forbidden, f"{module} must not import {sorted(forbidden)}"


@pytest.mark.parametrize("package", ["band", "methods", "search", "verification"])
def test_a_part_of_resources_exports_nothing_of_its_own(package):
    assert len(TREES[f"{PACKAGE}.resources.{package}.__init__"].body) == 1  # its docstring


def test_imports_have_no_cycle():
    graph = {module: modules_imported(tree, set(TREES)) for module, tree in TREES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("module", TREES)
def test_what_only_some_modules_may_use(module):
    tree, unit = TREES[module], module_to_unit(module)
    packages = {name.split(".")[0] for name in names_imported(tree)}
    assert not packages & {"tensorflow", "torch"}
    assert "ml_collections" not in packages or unit in MAY_USE_CONFIG_DICT
    words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    words |= {name.split(".")[-1] for name in names_imported(tree)}
    assert "fold_in" not in words or unit == "keys", "derive keys through keys.py"


@pytest.mark.parametrize("folder", [PACKAGE, "tests", "benchmarks"])
def test_files_and_functions_are_short(folder):
    files = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: lines for path, lines in files.items() if lines > 300} == {}
    if folder == PACKAGE:
        functions = {
            f"{module}.{node.name}": node.end_lineno - node.lineno + 1
            for module, tree in TREES.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert {name: lines for name, lines in functions.items() if lines > 60} == {}
