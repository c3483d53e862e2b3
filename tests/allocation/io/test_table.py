import re

import jax
import numpy as np
import pytest

from fedjax_diffusion.allocation import allocate, allocation_table


def read_cells(line):
    return line.replace(",", "").split()


@pytest.fixture
def problem(make_problem):
    problem = make_problem(5, 0, min_bits=4, max_bits=16)
    problem.channel_gain[1] = 1e-25
    return problem


@pytest.mark.parametrize("method", ["on_demand", "relaxed"])
def test_every_client_has_a_line_in_its_columns(problem, method):
    a = allocate(problem, method)
    header, rule, *lines, _, total, certificate = allocation_table(a).splitlines()
    assert set(rule) == {"-"}
    names = ("num_bits", "compute_seconds", "upload_seconds", "transmit_power_watts")
    columns = [getattr(a, name) for name in (*names, "compute_joules", "transmit_joules")]
    for k, line in enumerate(lines):
        client, *cells, status = read_cells(line)
        assert int(client) == k
        np.testing.assert_allclose([float(cell) for cell in cells], [c[k] for c in columns], 1e-3)
        assert status == ("infeasible_time" if k == 1 else "optimal")
        assert line.index(status) == header.index("status")
    assert len(lines) == 5
    cells = [float(cell) for cell in read_cells(total)[1:4]]
    joules = [a.compute_joules.sum(), a.transmit_joules.sum(), a.total_joules]
    np.testing.assert_allclose(cells, joules, 1e-3)
    error, bound, gap = (float(number) for number in re.findall(r" (\d[\d.e-]*)", certificate))
    np.testing.assert_allclose(error, a.error, 1e-3)
    np.testing.assert_allclose(bound, a.dual_bound_joules, 1e-3)
    np.testing.assert_allclose(gap / 100, a.relative_gap, 0.1)


def test_columns_end_below_their_names(problem):
    header, _, line, *_ = allocation_table(allocate(problem)).splitlines()
    names = ("client", "bits", "compute s", "upload s", "power W", "computing J", "transmitting J")
    for name in names:
        end = header.index(name) + len(name)
        assert line[end - 1] != " "
        assert line[end] == " "


@pytest.mark.parametrize(("num_clients", "rest"), [(30, None), (31, "1"), (100, "70")])
def test_many_clients_are_counted_and_the_total_is_over_all(make_problem, num_clients, rest):
    many = allocate(make_problem(100, 0), "demand")
    a = jax.tree.map(lambda leaf: leaf[:num_clients] if leaf.ndim else leaf, many)
    lines = allocation_table(a).splitlines()
    assert len(lines) == 30 + 5 + (rest is not None)
    if rest:
        assert lines[32].split() == ["...", "and", rest, "more", "clients"]
    np.testing.assert_allclose(float(lines[-2].split()[-2]), a.total_joules, 1e-3)


def test_bands_are_listed_where_they_are_shared(make_problem):
    problem = make_problem(3, 0)
    assert "band kHz" not in allocation_table(allocate(problem))
    a = allocate(problem, "on_demand:joint_bandwidth")
    header, _, *lines = allocation_table(a).splitlines()
    end = header.index("band kHz") + len("band kHz")
    found = [float(line[:end].split()[-1]) for line in lines[:3]]
    np.testing.assert_allclose(found, a.bandwidth_hz / 1e3, 1e-3)
