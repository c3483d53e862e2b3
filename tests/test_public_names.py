"""The package's names: imported when they are used, and the same ones for people and programs."""

import importlib
import pickle

import pytest

import fedjax_diffusion


def test_every_public_name_is_found_and_listed():
    assert {"run", "load_config", "allocate", "make_simulator", "read_sweep"} <= {
        *fedjax_diffusion.__all__
    }
    assert dir(fedjax_diffusion) == sorted([*fedjax_diffusion.__all__, "__version__"])
    everything = {}
    exec("from fedjax_diffusion import *", everything)
    for name in fedjax_diffusion.__all__:
        assert everything[name] is getattr(fedjax_diffusion, name), name


def test_a_module_of_the_package_is_found_unimported():
    assert fedjax_diffusion.simulator is importlib.import_module("fedjax_diffusion.simulator")
    assert not hasattr(fedjax_diffusion, "simulators")
    with pytest.raises(ImportError, match="cannot import name 'simulate'"):
        exec("from fedjax_diffusion import simulate", {})


def test_what_a_name_stands_for_can_be_pickled():
    for thing in (fedjax_diffusion.run, fedjax_diffusion.UNetConfig, fedjax_diffusion.Ledger()):
        assert pickle.loads(pickle.dumps(thing)) == thing
