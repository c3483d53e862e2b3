"""Trials: the guess first, what fits into the time, the fastest of those that run."""

import dataclasses
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fedjax_diffusion import load_run, register_network, run
from fedjax_diffusion.data import CohortData
from fedjax_diffusion.diffusion import Denoiser, conv_choice
from fedjax_diffusion.diffusion.conv import make_conv
from fedjax_diffusion.experiment import autotune, trial_budget
from fedjax_diffusion.experiment.autotune import Trials, tune
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.guesses import HEAVY
from fedjax_diffusion.federated import LocalWork
from fedjax_diffusion.host.interruption import Interruption, StoppedBySignal
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.planning.faults import FaultsConfig
from fedjax_diffusion.simulator import Simulator
from tests.tiny import tiny_config

GUESS = ComputeConfig("map", None, "plain", 1, "resident", tune="thorough")
ASKED = dataclasses.replace(GUESS, client_map="auto", conv="auto")


@dataclasses.dataclass(frozen=True)
class ConvConfig:
    """A network of one convolution."""

    width: int = 1
    num_classes = None


def make_one_conv(config, image_shape, *, conv="stock", dtype=jnp.float32, remat=False):
    convolve = make_conv(conv)

    def init(key):
        return {"kernel": jnp.zeros((3, 3, 1, 1))}

    def apply(params, x_t, t, dropout_key=None, labels=None):
        layout = ("NHWC", "HWIO", "NHWC")
        return convolve(x_t, params["kernel"], (1, 1), "SAME", dimension_numbers=layout)

    return Denoiser(init, apply, None)


register_network("one_conv", ConvConfig, make_one_conv)


class Shown(Progress):
    """Keeps the lines that it is to show."""

    def __init__(self):
        self.lines = []

    def tell(self, text):
        self.lines.append(text)


class FakeLearner:
    """Makes simulators whose rounds take what a table says, by map and convolution."""

    mesh = None
    config = SimpleNamespace(
        num_rounds=10, local_work=LocalWork(4, local_steps=1), faults=FaultsConfig()
    )

    def __init__(self, seconds):
        self.seconds, self.made = seconds, []

    def make_simulator(self, compute):
        self.made.append(way_of(compute))
        return self.seconds.get(self.made[-1], 1.0)

    def measure_convs(self, compute, num_clients, seconds):
        assert (compute.client_map, num_clients) == ("map", 1)
        return {"conv 1x8x8 3x3 1->1": "rows"}

    def count_client_bytes(self, compute):
        return 1e6

    def count_average_bytes(self, cohort_size):
        return 0


@pytest.fixture
def known_times(monkeypatch):
    """A fake simulator is the time that its round takes."""
    monkeypatch.setattr(autotune._Race, "_time", lambda self, simulator: simulator)


def way_of(compute):
    conv = compute.conv if isinstance(compute.conv, str) else "table"
    return f"{compute.client_map}{compute.chunk_size or ''} {conv}"


def tried_with(seconds, progress=None, **asked):
    learner = FakeLearner(seconds)
    scenario = SimpleNamespace(
        run_key=None, cohort_size=None, num_examples=np.full(5, 8), count_flops=lambda: 1e9
    )
    load = lambda: CohortData(None, np.arange(5))  # noqa: E731
    made = Trials(learner, scenario, None, load, progress or Shown())
    asked = dataclasses.replace(ASKED, **asked)
    choice = tune(asked, dataclasses.replace(GUESS, tune=asked.tune), made)
    return way_of(choice.compute), learner.made


def test_thorough_tries_every_mapping_and_lowering_and_takes_the_fastest(known_times):
    progress = Shown()
    chosen, made = tried_with({"chunked4 rows": 0.1, "map stock": 0.5}, progress)
    assert chosen == "chunked4 rows"
    assert made[:2] == ["map plain", "map table"]
    assert len(made) == 2 + 3 * 4 - 1, "map, chunks of 4 and vmap by four lowerings"
    assert "fastest of 13: clients by chunked of 4, convolutions by rows" in progress.lines[-1]


def test_the_guess_stays_unless_another_way_is_clearly_faster(known_times):
    assert tried_with({})[0] == "map plain"
    assert tried_with({"vmap rows": 0.96})[0] == "map plain"
    assert tried_with({"vmap rows": 0.94})[0] == "vmap rows"
    assert tried_with({"map plain": math.inf, "map table": 1e9}, client_map="map")[0] != "map plain"


def test_a_signal_ends_the_trials_after_the_one_that_is_made(known_times):
    learner, interruption = FakeLearner({}), Interruption()
    scenario = SimpleNamespace(
        run_key=None, cohort_size=None, num_examples=np.full(5, 8), count_flops=lambda: 1e9
    )

    def check():
        if len(learner.made) == 3:
            interruption.exit_code = 143
        interruption.check("nothing is played")

    load = lambda: CohortData(None, np.arange(5))  # noqa: E731
    made = Trials(learner, scenario, None, load, check=check)
    with pytest.raises(StoppedBySignal, match="nothing is played"):
        tune(ASKED, GUESS, made)
    assert len(learner.made) == 3


def race_of(step, seconds=math.inf, has_table=False):
    """Returns the time of a first simulator with this step."""
    learner = FakeLearner({})
    scenario = SimpleNamespace(run_key=None, cohort_size=None, num_examples=np.full(5, 8))
    made = Trials(learner, scenario, None, lambda: CohortData(None, np.arange(5)))
    return autotune._Race(made, seconds, has_table)._time(
        Simulator(lambda key, data: 7, step, step)
    )


def test_a_round_that_does_not_fit_takes_forever_and_other_failures_are_not_hidden():
    def fail_with(text):
        def step(*_):
            raise jax.errors.JaxRuntimeError(text)

        return step

    assert race_of(fail_with("RESOURCE_EXHAUSTED: out of memory")) == math.inf
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        race_of(fail_with("INTERNAL: something else"))


def test_a_timed_round_has_all_clients_at_8_bits_and_no_more_steps_than_the_run():
    asked = []

    def step(key, state, allocation, cohort, data, rows, num_steps):
        asked.append((state, allocation.num_bits.tolist(), cohort.tolist(), num_steps.tolist()))
        return state, jnp.zeros(())

    assert race_of(step, seconds=0.0) == 0, "compiled, and not timed where no other can follow"
    assert len(asked) == 1
    asked.clear()
    assert 0 < race_of(step, seconds=0.0, has_table=True) < math.inf
    assert asked == [(7, [8] * 5, [0, 1, 2, 3, 4], [1] * 5)] * 5


def test_trials_end_with_their_time(known_times, monkeypatch):
    monkeypatch.setattr(trial_budget, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(trial_budget, "_SHARE", math.inf)
    _, made = tried_with({}, tune="auto", tune_seconds=1e-9)
    assert made == ["map plain", "map table"], "the table has time of its own"
    _, made = tried_with({}, tune="auto", tune_seconds=1e-9, conv="plain")
    assert made == ["map plain"]
    _, made = tried_with({}, tune="auto", tune_seconds=60.0)
    assert made == ["map plain", "map table", "chunked4 matmul", "vmap matmul"]


@pytest.mark.parametrize(
    "asked", [{"tune": "guess"}, {"tune": "auto"}, {"client_map": "map", "conv": "plain"}]
)
def test_nothing_is_tried_where_it_does_not_pay_or_nothing_is_open(known_times, asked):
    assert tried_with({"map plain": math.nan}, **asked)[1] == ["map plain"]


def test_a_model_whose_flops_nobody_counts_keeps_the_guess_and_trains_one_at_a_time(caplog):
    def refuse():
        raise ValueError("cannot be counted")

    scenario = SimpleNamespace(cohort_size=2, num_examples=np.full(2, 8), count_flops=refuse)
    made = Trials(FakeLearner({}), scenario, None, lambda: None)
    asked = dataclasses.replace(ASKED, tune="auto")
    assert made.share_of_run(asked) == 0
    assert autotune.count_load(made.learner, scenario, asked) == HEAVY
    assert "clients are mapped one by one: cannot be counted" in caplog.text


def test_a_way_is_described_in_words():
    lighter = dataclasses.replace(GUESS, client_map="chunked", chunk_size=4, remat=True)
    assert lighter.describe() == (
        "clients by chunked of 4, convolutions by plain, activations computed again"
    )


def test_a_run_records_what_was_chosen_and_resumes_with_it(tmp_path, monkeypatch):
    """The measured table against the guess, by the run's own program; XLA counts nothing."""
    monkeypatch.setattr(jax.stages.Lowered, "cost_analysis", lambda self: None)
    monkeypatch.setattr(trial_budget, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(trial_budget, "_SHARE", math.inf)
    monkeypatch.setattr(autotune, "_GAIN", 1e9)  # the guess loses
    monkeypatch.setattr(conv_choice, "_fastest", lambda *_: "rows")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    progress = Shown()
    settings = {"num_rounds": 1, "allocator__baselines": (), "compute__client_map": "map"}
    settings |= {"quantization__name": "none", "compute__cpu_devices": "1"}
    config = tiny_config(**settings, compute__tune_seconds=1e9)
    config.model = ConfigDict({"name": "one_conv", "width": 1})
    config.workload.cycles_per_example = None
    config.allocator.time_budget_seconds = 1000.0
    run(config, tmp_path / "run", progress=progress)
    assert progress.lines[0].startswith("fastest of 2: clients by map, convolutions by a measured")
    experiment, _ = load_run(tmp_path / "run")
    assert {key.split()[0] for key in experiment.compute.conv} == {"conv", "kernel_bar"}
    assert set(experiment.compute.conv.values()) == {"rows"}
    assert len(progress.lines) == 1, "a folder's choice is not tried again"
