"""Strict JAX for every test: 8 CPU devices, rank promotion raises; long tests are run by name.

``pytest`` runs on the CPU alone and skips what is marked ``slow`` or ``gpu``. ``pytest -m gpu``
gives JAX all devices of the machine, and warnings of another JAX do not fail it;
``JAX_PLATFORMS=cpu pytest -m gpu`` runs the same tests with the CPU in the accelerator's place.

Programs that several tests (and several workers) compile are compiled once: they share a cache that
lives as long as the test session. LLVM's optimizations take more than half of compilation and are
left out, loops are emitted by the older of XLA's two emitters, which takes half of the rest, and a
program is one module of LLVM; but not in files that are marked ``optimized``: those where a fused
multiply-add may change a bit. XLA's own passes are those of a run everywhere.
No test reads or writes decoded images in the user's cache.
"""

import atexit
import contextlib
import gc
import importlib
import itertools
import os
import pathlib
import re
import shutil
import sys
import tempfile

from tests.xla_flags import GIVEN, compile_as_for_a_run, share_context, with_fast_flags

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.mkdtemp(prefix="fedjax-diffusion-tests-")
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ["MPLBACKEND"] = "Agg"
os.environ["XLA_FLAGS"] = with_fast_flags(GIVEN)

import pytest

gc.set_threshold(50_000, 20, 20)  # collecting tests and tracing make many objects that stay
# The bytecode of the package is kept, as it is by default: many tests start a process.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

TESTS = pathlib.Path(__file__).parent
RUN_BY_NAME = ("slow", "gpu")
"""Markers."""
ALL_PLATFORMS = ""
"""Of ``JAX_PLATFORMS``: the accelerators that JAX finds, and the CPU, be there any or not."""
UNOPTIMIZED = "jax_disable_most_optimizations"
FIRST = ("test_notebooks.py",)
"""Files that take long: begun last, one worker would play them while the others have no more."""
OF_PLAYERS = "players"
PLAYERS = (
    *("cli", "compare", "experiment", "host", "reliability", "runs", "sweep"),
    "test_run_examples.py",
)
"""Folders and files of tests that play runs of one config: for one worker, and begun early."""
PLAYED_WITH = {"tests/cli/test_allocate.py": "tests/allocation"}
"""Folder whose programs a file of another shares."""
MAX_WORKERS = 4
MAX_MAPPINGS = 45_000
"""Of memory, after which compiled programs are let go: Linux gives a process 65,530."""
PLAYED_FILES = itertools.count()
"""By this process: the mappings are counted after every fourth, as to list them takes 20 ms."""


def is_asked_for(config, marker):
    """Whether ``-m`` selects a marker by its name."""
    return re.search(rf"(?<!not )\b{marker}\b", config.option.markexpr) is not None


def is_optimized(node):
    """Whether the programs of a test or file are compiled as for a run."""
    return node.get_closest_marker("optimized") is not None


def pytest_configure(config):
    """Chooses the devices, for workers and other processes too, before JAX has asked for any.

    What only starts workers does without JAX: they would wait for its import.
    """
    is_on_gpu = is_asked_for(config, "gpu")
    platforms = os.environ.get("JAX_PLATFORMS", ALL_PLATFORMS if is_on_gpu else "cpu")
    if platforms and "cpu" not in platforms.split(","):
        platforms += ",cpu"  # the allocator's, and what the others are compared with
    os.environ["JAX_PLATFORMS"] = platforms
    if is_on_gpu:
        config.addinivalue_line("filterwarnings", "default")
    else:
        os.environ[UNOPTIMIZED.upper()] = "1"  # of processes that tests start
    if not getattr(config.option, "tx", None) or hasattr(config, "workerinput"):
        start_jax()


def start_jax():
    """Imports JAX: strict, and as the environment says, even if a plug-in imported it before."""
    import jax

    jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
    jax.config.update(UNOPTIMIZED, os.environ.get(UNOPTIMIZED.upper()) == "1")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    share_context()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # It has reported its results by then; thousands of compiled programs take seconds to free.
        atexit.register(os._exit, 0)


def pytest_xdist_auto_num_workers(config):
    """Returns the workers of ``-n auto``: none for single files or a GPU, else one per core.

    More than a few gain little, as they compile the same programs, and each comes to hold 5 GB.
    """
    paths = [pathlib.Path(name.split("::")[0]) for name in config.args]
    if is_asked_for(config, "gpu") or all(path.is_file() for path in paths):
        return 0
    return min(os.cpu_count() or 1, MAX_WORKERS)


def find_scope(nodeid):
    """Returns what one worker plays as a whole: a folder, several that share programs, or a file.

    >>> find_scope("tests/runs/test_text.py::test_a"), find_scope("tests/edge/io/test_b.py::test_b")
    ('players', 'tests/edge')
    """
    file = nodeid.split("::")[0]
    top, name, *_ = PLAYED_WITH.get(file, file).split("/")
    return OF_PLAYERS if name in PLAYERS else f"{top}/{name}"


def pytest_xdist_make_scheduler(config, log):
    """Gives each worker whole folders, whose files share compiled programs, or a file beside."""
    from xdist.scheduler import LoadFileScheduling

    class ByFolder(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return find_scope(nodeid)

    return ByFolder(config, log)


def pytest_ignore_collect(collection_path, config):
    """Lets ``-m gpu`` alone read no other tests: they import packages that may not be there."""
    if config.option.markexpr != "gpu":
        return None
    files = collection_path.rglob("*.py") if collection_path.is_dir() else [collection_path]
    texts = (path.read_text() for path in files if path.suffix == ".py")
    return None if any("pytest.mark.gpu" in text for text in texts) else True


def pytest_sessionstart(session):
    """Lets every second worker import the test files from the last one on.

    In a fresh clone pytest rewrites the assertions of each: two workers share that so.
    """
    config, worker = session.config, os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if config.args == config.getini("testpaths") and int(worker.removeprefix("gw")) % 2:
        for path in sorted(TESTS.rglob("test_*.py"), reverse=True):
            name = ".".join(path.relative_to(TESTS.parent).with_suffix("").parts)
            with contextlib.suppress(Exception, pytest.skip.Exception):  # collection tells of it
                importlib.import_module(name)


def pytest_collection_modifyitems(config, items):
    """Skips what is run by name: by ``-m``, or by the test's own; brings long files forward."""
    gc.freeze()  # tests trace: what is here by now would be looked through again and again
    # What is compiled alike is played together: compiled programs are let go between.
    items.sort(
        key=lambda item: (
            item.path.name not in FIRST,
            not is_optimized(item),
            find_scope(item.nodeid) != OF_PLAYERS,
        )
    )
    named = tuple(name for name in config.args if "::" in name)
    for item in items:
        for marker in {*RUN_BY_NAME} & {mark.name for mark in item.iter_markers()}:
            if not is_asked_for(config, marker) and not item.nodeid.startswith(named):
                item.add_marker(pytest.mark.skip(reason=f"run by name: pytest -m {marker}"))


@pytest.fixture(scope="session", autouse=True)
def _own_data_cache(tmp_path_factory):
    """Keeps decoded images in one folder for all tests: entries differ by their source's path."""
    from fedjax_diffusion.data.image_cache import VARIABLE

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("decoded")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _empty_figures():
    """Leaves the figure of a run empty: to draw it takes longer than most of the runs here.

    Yields what draws it.
    """
    from matplotlib.figure import Figure

    from fedjax_diffusion.runs import figure

    draw = figure.make_figure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure, "make_figure", lambda _: Figure((1, 1)))
        yield draw


@pytest.fixture(scope="module")
def drawn_figures(_empty_figures):
    """Draws the figure of each run of a file."""
    from fedjax_diffusion.runs import figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure, "make_figure", _empty_figures)
        yield


@pytest.fixture(scope="module", autouse=True)
def compiled_so(request):
    """Compiles the programs of a file that is marked ``optimized`` as for a run, and no others."""
    import jax

    as_for_a_run = is_optimized(request.node)
    if as_for_a_run == jax.config.values[UNOPTIMIZED]:
        jax.clear_caches()
        jax.config.update(UNOPTIMIZED, not as_for_a_run)
        os.environ[UNOPTIMIZED.upper()] = str(int(not as_for_a_run))
        os.environ["XLA_FLAGS"] = GIVEN if as_for_a_run else with_fast_flags(GIVEN)
    with compile_as_for_a_run() if as_for_a_run else contextlib.nullcontext():
        yield


@pytest.fixture(scope="module", autouse=True)
def few_mappings():
    """Lets go of compiled programs, each of which holds mappings of memory, between test files."""
    import jax

    yield
    maps = pathlib.Path("/proc/self/maps")  # of Linux
    if (
        next(PLAYED_FILES) % 4 == 0
        and maps.exists()
        and len(maps.read_bytes().splitlines()) > MAX_MAPPINGS
    ):
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def float64():
    """Turns JAX's float64 on for one test."""
    import jax

    with jax.enable_x64(True):
        yield
