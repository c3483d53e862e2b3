"""Rounds without a step of the model: their count and reasons, and the runs that fail by them."""

import pytest

from fedjax_diffusion.runs.learning import Learning, check_learned, explain_end, is_early_end

STEP = {"loss": 0.5, "diverged": [], "step_refused": False}
ONE_LEFT = {"loss": 0.5, "diverged": [1], "step_refused": False}
DIVERGED = {"loss": None, "diverged": [0, 1], "step_refused": False}
REFUSED = {"loss": 0.5, "diverged": [], "step_refused": True}
ABSENT = {"loss": None, "diverged": [], "step_refused": False}
FAILED = ABSENT | {"faults": ["none", "late"]}
HEALTHY = ABSENT | {"faults": ["none", "none"]}


def summary_of(*rounds):
    learning = Learning()
    for number, record in enumerate(rounds):
        learning.add({"round": number, **record})
    return learning.summarize()


@pytest.mark.parametrize(
    ("rounds", "text"),
    [
        ([STEP], None),
        ([DIVERGED, REFUSED, ONE_LEFT], None),
        ([STEP, DIVERGED], "every client diverged since round 1"),
        ([STEP, STEP, REFUSED], "the server's step was not finite since round 2"),
        ([ABSENT, ABSENT], "no client participated since round 0"),
        ([STEP, HEALTHY], "no client participated since round 1"),
        ([FAILED, DIVERGED], "every client diverged or every upload failed since round 0"),
        (
            [STEP, ABSENT, DIVERGED],
            "every client diverged or no client participated since round 1",
        ),
    ],
)
def test_the_end_says_since_when_and_why(rounds, text):
    end = explain_end(summary_of(*rounds))
    assert end == (text and f"{text}: the model has not changed since then")


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        ([DIVERGED], "nothing was learned: .*; lower client_optimizer.learning_rate"),
        ([REFUSED], "nothing was learned: .*; lower client_optimizer.learning_rate"),
        ([ABSENT], "nothing was learned: .*; raise allocator.time_budget_seconds"),
        ([FAILED, ABSENT], "nothing was learned: .*; lower the probabilities of config.faults"),
        ([STEP, DIVERGED, REFUSED, DIVERGED], "the run diverged: every client diverged or the"),
        ([STEP, DIVERGED, ABSENT, DIVERGED, DIVERGED], "the run diverged"),
    ],
)
def test_a_run_that_learned_nothing_or_diverged_fails(rounds, message):
    with pytest.raises(RuntimeError, match=message):
        check_learned(summary_of(*rounds))


@pytest.mark.parametrize(
    "rounds",
    [
        [STEP],
        [STEP, DIVERGED, DIVERGED],
        [STEP, *4 * [ABSENT]],
        [STEP, *4 * [FAILED]],
        [DIVERGED, ONE_LEFT],
    ],
)
def test_a_run_that_learned_passes(rounds):
    check_learned(summary_of(*rounds))


def test_a_summary_of_an_earlier_version_passes():
    check_learned({"loss": None}, 1)
    assert explain_end({"loss": None}) is None


def test_lost_rounds_end_a_run_early_and_an_absent_client_does_not():
    counts = summary_of(STEP, DIVERGED, ABSENT, REFUSED)
    assert counts["lost_rounds"] == 2
    assert is_early_end(counts, 2)
    assert not is_early_end(counts, 3)
    assert not is_early_end(counts, None)
    with pytest.raises(RuntimeError, match="the run diverged"):
        check_learned(counts, 2)
    check_learned(counts, 3)
