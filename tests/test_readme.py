"""The commands of README and docs exist, their Python runs, links lead somewhere."""

import ast
import inspect
import json
import pathlib
import re
import shlex

import chex
import pytest
import yaml

import fedjax_diffusion
from fedjax_diffusion.allocation import AllocationProblem, example_problem
from fedjax_diffusion.cli.main import read_overrides
from fedjax_diffusion.cli.parser import make_parser
from fedjax_diffusion.experiment.config import load_config
from fedjax_diffusion.runs import environment, round_record
from fedjax_diffusion.runs.ledger import SavingsRow
from fedjax_diffusion.runs.records import EVALUATION, read_metrics, read_summary

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
}
README = PAGES["README.md"]
COMMAND = re.compile(r"(?:^|&& )fedjax-diffusion (.*)")
MAX_README_LINES = 120


def find_blocks(text, language):
    """Returns the fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def find_commands(text):
    """Returns the arguments of a page's commands: in shell blocks, and those within sentences."""
    lines = "".join(find_blocks(text, "sh")).replace("\\\n", " ").splitlines()
    shown = [COMMAND.search(line.split(" #")[0].rstrip(" &")) for line in lines]
    sentences = re.findall(r"`fedjax-diffusion ([^`]*=[^`]*)`", text)
    return [found[1] for found in shown if found] + sentences


COMMANDS = [(page, command) for page, text in PAGES.items() for command in find_commands(text)]
PYTHON = [
    pytest.param(block, id=f"{page}-{number}")
    for page, text in PAGES.items()
    for number, block in enumerate(find_blocks(text, "python"))
]
LINKS = [
    (page, link)
    for page, text in PAGES.items()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
]


def test_readme_is_short():
    assert len(README.splitlines()) <= MAX_README_LINES


def test_the_two_commands_of_a_newcomer_stand_first():
    shell = find_blocks(README, "sh")
    assert "pip install -e . && fedjax-diffusion run" in shell[0]
    assert any("pip install -e '.[test]' && pytest" in block for block in shell)


def test_every_command_is_understood():
    refused = {}
    for page, command in COMMANDS:
        try:
            parsed, rest = make_parser().parse_known_args(shlex.split(command))
            overrides = read_overrides(parsed, rest)
            if vars(parsed).get("config"):
                load_config(parsed.config, overrides)
        except (SystemExit, ValueError) as error:
            refused[page, command] = error
    assert refused == {}


@pytest.mark.parametrize("code", PYTHON)
def test_every_python_block_runs_by_itself(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "page", "exec"), {"__name__": "page"})


def test_allocator_page_shows_the_example_problem():
    page = PAGES["docs/allocator.md"]
    shown = re.search(r"AllocationProblem\(\n.*?^\)", page, re.DOTALL | re.MULTILINE)
    problem = eval(shown[0], {"AllocationProblem": AllocationProblem})
    chex.assert_trees_all_equal(problem, example_problem())


def test_every_link_leads_somewhere():
    assert [
        (page, link) for page, link in LINKS if not ((ROOT / page).parent / link).exists()
    ] == []


def test_index_lists_every_page():
    pages = {pathlib.Path(page).name for page in PAGES if page.startswith("docs/")} - {"index.md"}
    assert set(re.findall(r"\]\((\w+\.md)\)", PAGES["docs/index.md"])) >= pages


def test_citation_names_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == fedjax_diffusion.__version__


def test_run_folder_page_names_every_field():
    folder = ROOT / "tests/old_folders"
    variant = folder / "comparison/on_demand/seed_0"
    fields = {
        *read_metrics(folder / "run")[0],
        *read_summary(variant),
        *SavingsRow._fields,
        *environment.read(folder / "run"),
        *json.loads((variant / EVALUATION).read_text())["quality"],
    }
    named = re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", PAGES["docs/run_folder.md"])))
    assert fields - set(named) == set()


def test_run_folder_page_names_every_field_of_a_line_that_is_written_today():
    source = ast.parse(inspect.getsource(round_record))
    keys = [key for node in ast.walk(source) if isinstance(node, ast.Dict) for key in node.keys]
    fields = {key.value for key in keys if isinstance(key, ast.Constant)}
    page = PAGES["docs/run_folder.md"]
    section = page[page.index("## metrics.jsonl") : page.index("## summary.json")]
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", section))))
    assert {"relative_gap", "baseline_joules", "lost_joules"} <= fields
    assert fields - named == set()


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/glossary.md"])
def test_modules_that_a_page_names_exist(page):
    modules = set(re.findall(r"`([\w/]+\.py)\b", PAGES[page]))
    places = (ROOT, ROOT / "fedjax_diffusion")
    missing = {name for name in modules if not any((place / name).exists() for place in places)}
    assert modules
    assert {name for name in missing if "NAME" not in name} == set()
