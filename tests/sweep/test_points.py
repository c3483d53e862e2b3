"""Definitions become points: the same each time, different exactly where settings are."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjax_diffusion import load_config
from fedjax_diffusion.experiment.config import to_run_config, with_overrides
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.points import expand, load_get_hyper
from tests.each import check_each

CONFIG = to_run_config(load_config("digits"))
VALUES = {
    "seed": [0, 1, 2, "1", " 2"],
    "num_rounds": [40, 2, 3],
    "allocator.method": ["on_demand", "fixed_bits:1", "full_precision"],
    "client_optimizer.learning_rate": [1, 1.0, "1", 2e-3, 0.002, "1e-3"],
    "model.channel_multipliers": [(1, 1), [1, 1], (1, 2), "(1, 2)"],
    "augmentation.random_flip": [True, False, "true"],
    "cohort_size": [None, 4, "4", "none"],
    "compute.dtype": ["float32", "bfloat16"],
    "sampling.eta": [0, 0.0, -0.0, 1],
}
"""Values by key, some of them equal to others as the setting reads them."""
READ = {
    "seed": int,
    "num_rounds": int,
    "allocator.method": str,
    "client_optimizer.learning_rate": float,
    "model.channel_multipliers": lambda v: tuple(int(c) for c in str(v) if c.isdigit()),
    "augmentation.random_flip": lambda v: v in (True, "true"),
    "cohort_size": lambda v: None if v in (None, "none") else int(v),
    "compute.dtype": str,
    "sampling.eta": float,
}
BASE = {key: READ[key](CONFIG.flatten()[key]) for key in VALUES}


def axis(key, prefix, size=3):
    values = st.lists(st.sampled_from(VALUES[key]), min_size=1, max_size=size)
    return values.map(lambda chosen: hyper.sweep(prefix + key, chosen))


@st.composite
def definitions(draw):
    """Draws (function get_hyper, the points that it is to give, put together by hand)."""
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True))
    axes = [draw(axis(key, draw(st.sampled_from(["", "config."])))) for key in keys]
    kind = draw(st.sampled_from(["product", "zipit", "chainit"]))
    if kind == "zipit":
        axes = [points[: min(map(len, axes))] for points in axes]
    join = {"product": itertools.product, "zipit": zip, "chainit": itertools.chain}[kind]
    joined = [(part,) if kind == "chainit" else part for part in join(*axes)]
    points = [dict(pair for point in part for pair in point.items()) for part in joined]
    is_generator = draw(st.booleans())

    def get_hyper(h):
        made = getattr(h, kind)(axes)
        return (dict(point) for point in made) if is_generator else made

    return get_hyper, points


def check_definition(definition):
    get_hyper, expected = definition
    read = [BASE | {key: READ[key](value) for key, value in p.items()} for p in expected]
    is_distinct = all(a != b for a, b in itertools.combinations(read, 2))
    if not is_distinct:
        with pytest.raises(ValueError, match=r"^point \d+ .* and point \d+ .* the same settings"):
            expand(CONFIG, get_hyper)
        return
    points = expand(CONFIG, get_hyper)
    assert points == expand(CONFIG, get_hyper)
    assert len(points) == len({p.hash for p in points}) == len({p.folder for p in points})
    assert len(points) == len(expected)
    for point, values in zip(points, read, strict=True):
        flat = point.config.flatten()
        assert {key: READ[key](flat[key]) for key in VALUES} == values
        assert set(point.overrides) <= set(VALUES)
        assert all(flat[key] == value for key, value in point.overrides.items())


@given(definitions())
@settings(deadline=None, max_examples=25)
def test_identities_differ_exactly_when_settings_do(definition):
    check_definition(definition)


@pytest.mark.slow
@given(definitions())
@settings(deadline=None, max_examples=1500)
def test_identities_differ_exactly_when_settings_do_in_many_definitions(definition):
    check_definition(definition)


def fail(h):
    return h.sweep("seed", [1 / 0])


COUNTER = itertools.count()
FLAWS = {
    "unknown key; did you mean seed": lambda h: h.sweep("sede", [1]),
    "unknown key; did you mean model.channels": lambda h: h.sweep("config.model.chanels", [1]),
    "is now called config.partition.name": lambda h: h.sweep("partition.scheme", ["iid"]),
    "config.seed.low: unknown key": lambda h: [{"seed": 1, "seed.low": 2}],
    "is a group; set one of": lambda h: h.sweep("model", [3]),
    "config.compute.conv cannot be swept": lambda h: h.sweep("compute.conv", ["stock"]),
    "config.evaluation.num_samples cannot be swept, as it changes no number of a run; nor can "
    "anything in compute, checkpoint, compare, sweep, study, evaluation, data.data_dir, "
    "plugins, sampling.fixed_noise, tensorboard, except compute.dtype": lambda h: h.sweep(
        "evaluation.num_samples", [5]
    ),
    "point 3 (seed=abc): config.seed must be a whole number in 0..4294967295": lambda h: h.sweep(
        "seed", [0, 1, "abc"]
    ),
    "point 1 (seed=True): config.seed must be a whole number in 0..4294967295": lambda h: h.sweep(
        "seed", [True]
    ),
    "point 1 (seed=None): config.seed must be a whole number in 0..4294967295": lambda h: h.sweep(
        "seed", [None]
    ),
    "point 2 (seed=-1): config.seed must be a whole number in 0..4294967295": lambda h: h.sweep(
        "seed", [0, -1]
    ),
    "exactly one of local_steps and local_epochs": lambda h: h.sweep(
        "local_work.local_epochs", [2]
    ),
    "point 1 (allocator.method=a b)": lambda h: h.sweep("allocator.method", ["a\n b"]),
    "config.client_optimizer.learning_rate must be a number in [1e-37, 3e38], got 1000": lambda h: (
        h.sweep("client_optimizer.learning_rate", [10**400])
    ),
    "point 1 (allocator.baselines=(1, 2))": lambda h: h.sweep("allocator.baselines", [(1, 2)]),
    "the axis is empty": lambda h: h.sweep("seed", []),
    "equal lengths, got [2, 3]": lambda h: h.zipit([h.fixed("a", 1, 2), h.fixed("b", 1, 3)]),
    "point 1 (seed=1) and point 3 (seed=1) have the same settings; points must differ in a "
    "setting that changes numbers": lambda h: h.sweep("seed", [1, 2, "1"]),
    "get_hyper: ZeroDivisionError: division by zero": fail,
    "get_hyper: TypeError": lambda: None,
    "there is no get_hyper(h): define it in the config file, or give --sweep.KEY": None,
    "points must be a list of dicts of settings, got None": lambda h: None,
    "points must be a list of dicts of settings, got {1: 2}": lambda h: {1: 2},
    "a point must be a dict": lambda h: ["seed"],
    "must return at least one point, got none": lambda h: iter(()),
    "called again, it must return the same points": lambda h: h.sweep("seed", [next(COUNTER)]),
    "more than 10,000 points; --yes (is_large_ok) plays": lambda h: (
        {"seed": n} for n in itertools.count()
    ),
}


def find_refusal(get_hyper):
    """Returns the error of a definition as text, or nothing if it has none."""
    try:
        expand(CONFIG, get_hyper)
    except ValueError as error:
        return str(error)
    return ""


def check_refusal(message):
    said = find_refusal(FLAWS[message])
    assert message in said
    assert "\n" not in said


def test_a_bad_definition_is_refused_in_one_line():
    check_each(FLAWS, check_refusal)


SOME_FLAWS = st.sampled_from([m for m in FLAWS if FLAWS[m] and "got none" not in m])


def check_flaw(definition, message):
    said = find_refusal(lambda h: itertools.chain(definition[0](h), FLAWS[message](h)))
    assert said
    assert "\n" not in said


@given(definitions(), SOME_FLAWS)
@settings(deadline=None, max_examples=25)
def test_a_flaw_among_good_points_is_refused_in_one_line(definition, message):
    check_flaw(definition, message)


@pytest.mark.slow
@given(definitions(), SOME_FLAWS)
@settings(deadline=None, max_examples=500)
def test_a_flaw_is_refused_in_one_line_in_many_definitions(definition, message):
    check_flaw(definition, message)


def test_a_point_has_every_setting_and_a_folder():
    points = expand(
        load_config("digits"),
        lambda h: h.product(
            [h.sweep("allocator.method", ["demand", "fixed_bits:8"]), h.sweep("seed", ["3"])]
        ),
    )
    last = points[1]
    assert last.overrides == {"allocator.method": "fixed_bits:8", "seed": 3}
    assert last.config == with_overrides(CONFIG, last.overrides)
    assert last.label == "method-fixed-bits-8+seed-3"
    assert last.folder == f"{last.label}--{last.hash[:12]}"


def test_an_added_value_or_axis_at_its_base_value_keeps_identities():
    few = expand(CONFIG, lambda h: h.sweep("seed", [0, 1]))
    more = expand(CONFIG, lambda h: h.sweep("seed", range(3)))
    wider = expand(
        CONFIG,
        lambda h: h.product([h.sweep("num_rounds", [40, 5]), h.sweep("seed", range(2))]),
    )
    assert [p.hash for p in few] == [p.hash for p in more[:2]] == [p.hash for p in wider[:2]]


def test_settings_that_change_no_number_change_no_identity():
    other = with_overrides(CONFIG, {"compute.conv": "stock", "evaluation.num_samples": 70})
    one, two = (expand(c, lambda h: [{}])[0] for c in (CONFIG, other))
    assert one.hash == two.hash
    assert one.label == "base"
    assert two.config == other


def test_a_config_file_defines_its_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = "from fedjax_diffusion import load_config\n"
    start += "def get_config(variant=''):\n    return load_config('digits')\n"
    (tmp_path / "plain.py").write_text(start + "def get_hyper(h): return h.sweep('seed', [4])\n")
    (tmp_path / "variants.py").write_text(
        start + "def get_hyper(h, variant):\n"
        "    return h.sweep('seed', range(1 if variant == 'smoke' else 3))\n"
    )
    (tmp_path / "none.py").write_text(start)
    numbers = {
        name: [p.config.seed for p in expand(load_config(name), load_get_hyper(name))]
        for name in ("plain.py", "variants.py", "variants.py:smoke")
    }
    assert numbers == {"plain.py": [4], "variants.py": [0, 1, 2], "variants.py:smoke": [0]}
    assert load_get_hyper("none.py") is None
    assert load_get_hyper("digits") is None
    with pytest.raises(ValueError, match=r"no file other\.py"):
        load_get_hyper("other.py")
