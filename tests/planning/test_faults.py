"""Faults of rounds: how often they happen, whom they meet, what each of them takes."""

import itertools

import numpy as np
import pytest

from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.planning import faults
from fedjax_diffusion.planning.faults import Fault, FaultsConfig, make_draw_faults

KEY = seed_to_key(0)
NUM_ROUNDS, M = 20, 200
COHORT, NUM_BITS = np.arange(M), np.full(M, 8)
KINDS = [fault.name.lower() for fault in Fault if fault != Fault.NONE]
SOME = FaultsConfig(**dict.fromkeys(KINDS, 0.3))


def draw_rounds(config, num_rounds=NUM_ROUNDS, num_bits=NUM_BITS):
    draw = make_draw_faults(config)
    return [draw(KEY, round, COHORT, num_bits) for round in range(num_rounds)]


def assert_binomial(count, number, probability):
    deviation = np.sqrt(number * probability * (1 - probability))
    assert abs(count - number * probability) <= 5 * deviation, (count, number, probability)


def test_each_fault_happens_as_often_as_it_is_asked_for():
    for kind, probability in itertools.product(KINDS, (0.02, 0.3, 1.0)):
        drawn = draw_rounds(FaultsConfig(**{kind: probability}))
        happened = np.concatenate([each.kind for each in drawn])
        assert_binomial(np.sum(happened == Fault[kind.upper()]), NUM_ROUNDS * M, probability)
        assert set(happened) <= {Fault.NONE, Fault[kind.upper()]}


def test_of_several_faults_the_first_one_happens():
    happened = np.concatenate([each.kind for each in draw_rounds(SOME)])
    for kind in Fault:
        earlier = len(KINDS) if kind == Fault.NONE else kind - 1
        probability = 0.7**earlier * (1.0 if kind == Fault.NONE else 0.3)
        assert_binomial(np.sum(happened == kind), NUM_ROUNDS * M, probability)


def test_each_fault_takes_what_it_says():
    ruined = FaultsConfig(**dict.fromkeys(KINDS, 0.3), diverging_factor=-50.0)
    for drawn, with_factor in zip(draw_rounds(SOME), draw_rounds(ruined), strict=True):
        of = {kind: drawn.kind == kind for kind in Fault}
        stopped, stopped_sending = of[Fault.DROPPED_BEFORE_UPLOAD], of[Fault.DROPPED_DURING_UPLOAD]
        in_vain = of[Fault.LATE] | of[Fault.DAMAGED]
        is_lost = stopped | stopped_sending | in_vain
        np.testing.assert_array_equal(drawn.is_lost, is_lost)
        np.testing.assert_array_equal(drawn.num_bits, np.where(is_lost, 0, 8))
        assert (drawn.compute_share[~stopped] == 1).all()
        assert (drawn.lost_share[in_vain] == 1).all()
        assert (drawn.lost_share[~(in_vain | stopped_sending)] == 0).all()
        for share in (drawn.compute_share[stopped], drawn.lost_share[stopped_sending]):
            assert ((share >= 0) & (share < 1)).all()
            assert abs(share.mean() - 0.5) <= 5 * np.sqrt(1 / 12 / len(share))
        np.testing.assert_array_equal(np.isnan(drawn.update_factor), of[Fault.DIVERGING])
        expected = np.where(of[Fault.DIVERGING], -50.0, 1.0)
        np.testing.assert_array_equal(with_factor.update_factor, expected)


def test_the_draws_of_a_client_depend_on_key_round_and_id_alone():
    draw, some = make_draw_faults(SOME), np.array([7, 3, 150])
    whole, part = draw(KEY, 5, COHORT, NUM_BITS), draw(KEY, 5, some, NUM_BITS[:3])
    for ours, theirs in zip(part, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs[some])
    for other in (draw(KEY, 6, COHORT, NUM_BITS), draw(seed_to_key(1), 5, COHORT, NUM_BITS)):
        assert (other.kind != whole.kind).any()
    late_too = make_draw_faults(FaultsConfig(dropped_before_upload=0.3, late=0.1))
    dropped = late_too(KEY, 5, COHORT, NUM_BITS).kind == Fault.DROPPED_BEFORE_UPLOAD
    np.testing.assert_array_equal(dropped, whole.kind == Fault.DROPPED_BEFORE_UPLOAD)


def test_a_client_that_was_left_out_has_no_fault():
    num_bits = np.where(COHORT % 2, 8, 0)
    (drawn,) = draw_rounds(FaultsConfig(late=1.0), 1, num_bits)
    np.testing.assert_array_equal(drawn.kind, np.where(COHORT % 2, Fault.LATE, Fault.NONE))
    assert drawn.update_factor is None


def test_at_probability_0_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(faults, "_draw", None)
    assert draw_rounds(FaultsConfig(diverging_factor=3.0), 2) == [None, None]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"late": -0.1}, r"faults\.late must be a number in \[0, 1\], got -0\.1"),
        ({"damaged": 1.5}, r"faults\.damaged must be a number in \[0, 1\], got 1\.5"),
        ({"diverging": float("nan")}, r"faults\.diverging must be a number in \[0, 1\], got nan"),
        (
            {"diverging_factor": -1e39},
            r"faults\.diverging_factor must be .* in \[-3e38, 3e38\]",
        ),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        FaultsConfig(**fields)
