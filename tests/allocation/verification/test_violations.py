import numpy as np
import pytest

from fedjax_diffusion.allocation.verification.violations import Findings


@pytest.fixture
def findings():
    return Findings(1e-6)


def test_equal_is_relative_and_never_nan(findings):
    values = np.array([1.0, 1 + 9e-7, 1 + 2e-6, 0.0, 1e-9, np.nan, np.inf, 1e-309, 1e-300])
    expected = np.array([1.0, 1.0, 1.0, 0.0, 0.0, np.nan, np.inf, 0.0, 0.0])
    with np.errstate(invalid="ignore"):
        is_equal = findings.is_equal(values, expected)
    assert is_equal.tolist() == [True, True, False, True, False, False, False, True, False]


def test_at_most_is_relative_and_never_nan(findings):
    values = np.array([1.0, 1 + 9e-7, 1 + 2e-6, -5.0, -1 + 9e-7, np.nan, 1.0])
    limit = np.array([1.0, 1.0, 1.0, 1.0, -1.0, 1.0, np.inf])
    assert findings.is_at_most(values, limit).tolist() == [
        True,
        True,
        False,
        True,
        True,
        False,
        True,
    ]


def test_lines_name_the_field_the_place_and_what_it_must_be(findings):
    findings.require("power", np.array([1.0, 2.5]), np.array([True, False]), "at most {:g}", 2.0)
    findings.require("status", np.array([3, 1]), np.array([False, True]), "0")
    findings.require("error", np.array(0.25), np.array(False), "at most {:.2f}", np.array(0.2))
    findings.require("error", 0.25, True, "anything")
    assert findings.lines == [
        "power[1] = 2.5: must be at most 2",
        "status[0] = 3: must be 0",
        "error = 0.25: must be at most 0.20",
    ]
