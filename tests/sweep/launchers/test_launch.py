"""The settings of an engine, as they are typed."""

import pytest

from fedjax_diffusion.sweep.launchers.engines import ENGINES, load_engine
from fedjax_diffusion.sweep.launchers.launch import parse_settings


def test_a_value_is_json_or_text():
    texts = {
        "mem_gb": "32",
        "exclusive": "true",
        "account": "0123",
        "constraint": "a100|h100",
        "setup": '["module load cuda", "date"]',
        "comment": "a=b",
        "qos": "",
    }
    assert parse_settings("slurm", [f"--slurm.{k}={v}" for k, v in texts.items()]) == texts | {
        "mem_gb": 32,
        "exclusive": True,
        "setup": ["module load cuda", "date"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--slurm.partition", r"--slurm.KEY=VALUE, got --slurm.partition"),
        ("--slurm.=gpu", r"--slurm.KEY=VALUE, got --slurm.=gpu"),
        ("--ray.num_gpus=1", r"--ray.num_gpus=1 goes with another --launcher than slurm"),
    ],
)
def test_a_malformed_setting_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_settings("slurm", [text])


def test_every_engine_checks_and_launches():
    for name in ENGINES:
        engine = load_engine(name)
        assert callable(engine.launch)
        with pytest.raises(ValueError, match=r"--workers|needs one more package"):
            engine.check(0, {})
