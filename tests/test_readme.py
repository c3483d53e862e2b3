"""The commands of README and docs exist, README's Python runs, links lead somewhere."""

import pathlib
import re
import shlex

import chex
import pytest

from fedjax_diffusion.allocation import AllocationProblem, example_problem
from fedjax_diffusion.cli.main import read_overrides
from fedjax_diffusion.cli.parser import make_parser
from fedjax_diffusion.experiment.config import load_config

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}


def find_commands(text):
    """Returns the commands of a page's shell blocks, and those with arguments in its sentences."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    shown = [line.split(" #")[0].rstrip(" &") for line in lines if "fedjax-diffusion " in line]
    return shown + re.findall(r"`(fedjax-diffusion [^`]*=[^`]*)`", text)


COMMANDS = [(page, command) for page, text in PAGES.items() for command in find_commands(text)]
LINKS = [
    (page, link)
    for page, text in PAGES.items()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
]


def test_the_two_commands_of_a_newcomer_stand_first():
    shell = [block for language, block in BLOCKS if language == "sh"]
    assert "pip install -e . && fedjax-diffusion run" in shell[0]
    assert any("pip install -e '.[test]' && pytest" in block for block in shell)


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_command_is_understood(page, command):
    _, _, arguments = command.rpartition("fedjax-diffusion ")
    parsed, rest = make_parser().parse_known_args(shlex.split(arguments))
    overrides = read_overrides(parsed, rest)
    if vars(parsed).get("config"):
        load_config(parsed.config, overrides)


@pytest.mark.parametrize("code", [block for language, block in BLOCKS if language == "python"])
def test_every_python_block_runs(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


def test_readme_shows_the_example_problem():
    shown = re.search(r"AllocationProblem\(\n.*?^\)", README, re.DOTALL | re.MULTILINE)
    problem = eval(shown[0], {"AllocationProblem": AllocationProblem})
    chex.assert_trees_all_equal(problem, example_problem())


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_every_link_leads_somewhere(page, link):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    assert (folder / link).exists()
