"""Variants are read from lines; each run of a comparison is an ordinary run."""

import pytest

from fedjax_diffusion.compare import list_plays, parse_variant
from fedjax_diffusion.compare.variants import fingerprint_settings
from fedjax_diffusion.experiment.config import to_run_config
from tests.tiny import tiny_config


def test_a_variant_is_a_name_and_settings():
    assert parse_variant("a_1: x.y=1:z , u=2") == ("a_1", {"x.y": "1:z", "u": "2"})
    assert parse_variant("plain:").overrides == {}
    assert parse_variant("a: x=(1, 2), y=3").overrides == {"x": "(1, 2)", "y": "3"}
    with pytest.raises(ValueError, match="a must not set the seed"):
        parse_variant("a: seed=3")
    for line in ("no colon", "a b: x=1", ": x=1", "a: x", "../up: x=1"):
        with pytest.raises(ValueError, match=r"^'.*' must be 'NAME: key=value"):
            parse_variant(line)


@pytest.mark.parametrize(
    ("changed", "is_another"),
    [
        ({"seed": 5}, False),
        ({"data__data_dir": "/elsewhere"}, False),
        ({"evaluation__inception_weights": "/elsewhere/a.pth"}, False),
        ({"compute__cpu_devices": 2}, False),
        ({"compare__num_seeds": 9}, False),
        ({"checkpoint__every_rounds": 1}, False),
        ({"compute__dtype": "bfloat16"}, True),
        ({"num_rounds": 5}, True),
        ({"evaluation__num_samples": 30}, True),
        ({"sampling__num_steps": 3}, True),
    ],
)
def test_runs_of_another_machine_are_of_the_same_variant(changed, is_another):
    fingerprints = [
        fingerprint_settings(to_run_config(tiny_config(**fields))) for fields in ({}, changed)
    ]
    assert (fingerprints[0] != fingerprints[1]) is is_another


def test_runs_come_seed_by_seed_and_are_the_same_in_another_comparison():
    variants = ("full: allocator.method=full_precision", "own:")
    few = list_plays(tiny_config(compare__variants=variants, compare__num_seeds=2, seed=3))
    assert [(p.variant, p.seed) for p in few] == [("full", 3), ("own", 3), ("full", 4), ("own", 4)]
    assert [p.point.label for p in few[1:3]] == ["own+seed-3", "full+seed-4"]
    assert few[0].point.config.allocator.method == "full_precision"
    assert few[1].point.config.allocator.method == "on_demand"
    variants = (*variants, "x: num_rounds=9")
    more = list_plays(tiny_config(compare__variants=variants, compare__num_seeds=5, seed=3))
    assert more[0].point.hash == few[0].point.hash


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"compare__num_seeds": 1}, "compare.num_seeds must be a whole number in 2..10000, got 1"),
        (
            {"compare__tolerance_percent": 0.0},
            r"compare.tolerance_percent must be a number in \(0, 1e6\]",
        ),
        ({"compare__variants": ("a:",)}, "compare.variants must be a tuple of 2..1000"),
        ({"compare__reference": "best"}, "compare.reference must be one of full_precision, fixed"),
        ({"compare__variants": ("a:", "a: num_rounds=3")}, "must each be named once"),
        ({"compare__variants": ("a:", "b: num_rounds=4")}, "a and b have the same settings"),
        ({"compare__variants": ("a:", "b: allocator.bits=3")}, r"config\.allocator\.bits: unknown"),
    ],
)
def test_what_does_not_fit_is_named(changed, said):
    with pytest.raises(ValueError, match=said):
        list_plays(tiny_config(**changed))
