"""The README's commands exist, and its Python runs."""

import pathlib
import re
import shlex

import pytest

from fedjax_diffusion.config import find_config
from fedjax_diffusion.parser import make_parser

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.replace("\\\n", " ").splitlines()
    if "fedjax-diffusion " in line
]


def test_the_two_commands_of_a_newcomer_stand_first():
    shell = [block for language, block in BLOCKS if language == "sh"]
    assert "pip install -e . && fedjax-diffusion run" in shell[0]
    assert any("pip install -e '.[test]' && pytest" in block for block in shell)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command):
    _, _, arguments = command.rpartition("fedjax-diffusion ")
    parsed, rest = make_parser().parse_known_args(shlex.split(arguments))
    assert all(text.startswith("--config.") for text in rest)
    if "config" in vars(parsed):
        find_config(parsed.config.partition(":")[0])


@pytest.mark.parametrize("code", [block for language, block in BLOCKS if language == "python"])
def test_every_python_block_runs(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_link_leads_somewhere(link):
    assert (ROOT / link).exists()
