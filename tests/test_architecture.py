"""The structure of the package, held by a walk over its syntax trees."""

import ast
import functools
import graphlib
import itertools
import pathlib
import statistics

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = "fedjax_diffusion"

# Lowest first. A unit is a module or a folder of the package. It imports itself and what stands
# above its line; "|" divides neighbours, who do not know each other.
RANKS = """
values types bits keys | host
data | diffusion | quantization | edge
federated | evaluation | allocation
simulator
planning
experiment
runs
study | sweep
compare
report
__init__
cli
__main__
"""
# What a unit must not know although it lies lower.
BLIND_TO = {
    "federated": {"data", "diffusion", "edge"},
    "evaluation": {"diffusion", "edge", "quantization"},
    "simulator": {"data", "diffusion", "edge", "evaluation", "allocation"},
    "planning": {"data", "diffusion", "evaluation"},
}
MAY_USE_CONFIG_DICT = {"experiment.config", "experiment.config_files"}


def read_ranks(text: str) -> dict[str, set[str]]:
    """Returns unit -> the units that it may import."""
    allowed: dict[str, set[str]] = {}
    for line in text.split("\n"):
        groups = [set(group.split()) for group in line.split("|")]
        lower = set(allowed)
        allowed |= {unit: lower | group for group in groups for unit in group}
    return {unit: units - BLIND_TO.get(unit, set()) for unit, units in allowed.items()}


ALLOWED = read_ranks(RANKS)


def path_to_module(path: pathlib.Path) -> str:
    """Returns the dotted name of a file, ``package.__init__`` for a package itself."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


# The imports of a package with a stub are in the stub, which therefore takes its place.
PATHS = [path for suffix in ("py", "pyi") for path in sorted((ROOT / PACKAGE).rglob(f"*.{suffix}"))]


@functools.cache
def read_trees() -> dict[str, ast.Module]:
    """Returns module -> its syntax tree."""
    return {path_to_module(path): ast.parse(path.read_text()) for path in PATHS}


@functools.cache
def names_imported(tree: ast.AST) -> set[str]:
    """Returns all dotted names that a tree imports, anywhere; ``from a import b`` gives ``a.b``.

    A tree is walked once for all tests.
    """
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names |= {f"{prefix}.{alias.name}" for alias in node.names}
    return names


def modules_imported(tree: ast.AST, known: set[str]) -> set[str]:
    """Returns the modules of the package, out of ``known``, that a tree imports."""
    modules = set()
    for name in names_imported(tree):
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


def test_ranks_allow_lower_lines_and_no_neighbours():
    ranks = read_ranks("a | b c\nd | e")
    assert ranks == {
        "a": {"a"},
        "b": {"b", "c"},
        "c": {"b", "c"},
        "d": set("abcd"),
        "e": set("abce"),
    }


def test_every_unit_has_a_rank():
    assert {module_to_unit(module) for module in read_trees()} == ALLOWED.keys()


def test_imports_point_down():
    forbidden = {}
    for module, tree in read_trees().items():
        imported = {module_to_unit(name) for name in modules_imported(tree, set(read_trees()))}
        if upward := imported - ALLOWED[module_to_unit(module)]:
            forbidden[module] = upward
    assert forbidden == {}


def test_imports_are_absolute():
    relative = {
        m for m, tree in read_trees().items() if any(n[0] == "." for n in names_imported(tree))
    }
    assert relative == set()


def test_imports_have_no_cycle():
    graph = {
        module: modules_imported(tree, set(read_trees())) for module, tree in read_trees().items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_heavy_frameworks_are_imported_nowhere():
    packages = {
        m: {n.split(".")[0] for n in names_imported(tree)} for m, tree in read_trees().items()
    }
    assert {m for m, used in packages.items() if used & {"tensorflow", "torch"}} == set()


def test_config_dict_ends_at_the_border():
    users = {
        m for m, t in read_trees().items() if any("ml_collections" in n for n in names_imported(t))
    }
    assert users == {f"{PACKAGE}.{module}" for module in MAY_USE_CONFIG_DICT}


def test_keys_are_derived_in_one_module():
    def words(tree: ast.AST) -> set[str]:
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        return attributes | {name.split(".")[-1] for name in names_imported(tree)}

    assert {m for m, tree in read_trees().items() if "fold_in" in words(tree)} == {
        f"{PACKAGE}.keys"
    }


@pytest.mark.parametrize("folder", [PACKAGE, "tests", "benchmarks"])
def test_files_are_short(folder):
    files = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: lines for path, lines in files.items() if lines > 300} == {}
    if folder == PACKAGE:
        assert statistics.median(files.values()) <= 120


def test_functions_are_short():
    functions = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1
        for module, tree in read_trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in functions.items() if lines > 60} == {}
