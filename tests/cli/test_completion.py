"""Completion: a shell asks through the environment, and reads the answer from descriptor 8."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("argcomplete")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fedjax-diffusion ev", {"evaluate"}),
        ("fedjax-diffusion run --work", {"--workdir"}),
        (
            "fedjax-diffusion sweep --sweep.channel.",
            {"--sweep.channel.fading", "--sweep.channel.shadowing_db"},
        ),
        ("fedjax-diffusion run --config=paper_", {"--config=paper_digits"}),
        (
            "fedjax-diffusion config cifar10 --config.compute.remat=",
            {"--config.compute.remat=True", "--config.compute.remat=False"},
        ),
    ],
)
def test_commands_arguments_configs_and_settings_are_completed(line, expected, tmp_path):
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": " ", "COMP_LINE": line}
    asked |= {"COMP_POINT": str(len(line)), "COMP_TYPE": "9", "COMP_WORDBREAKS": " "}
    command = f"{sys.executable} -m fedjax_diffusion 8>answer 9>/dev/null"
    subprocess.run(
        command, shell=True, cwd=tmp_path, env={**os.environ, **asked}, check=True, timeout=60
    )
    assert {*(tmp_path / "answer").read_text().split()} == expected
