"""A comparison's runs as a file: what is written is read back, what is no such file is refused."""

import pytest

from fedjax_diffusion.compare import RunRow, read_runs, write_runs

ROWS = [
    RunRow(
        variant="full",
        seed=3,
        distance_name="fcd",
        distance=1 / 3,
        floor=None,
        precision=0.1,
        recall=1e-17,
        loss=float("nan"),
        mean_bits=32.0,
        compute_joules=1e300,
        transmit_joules=2.5,
        uplink_bytes=2**60 + 1,
        full_precision_bytes=7,
        full_precision_joules=0.1 + 0.2,
        max_frequency_joules=1.0,
        late=0,
        client_rounds=4,
        left_out=1,
        settings="0123456789abcdef",
        extractor="1234567890123456",
    )
]


def test_rows_come_back_exactly(tmp_path):
    rows = [ROWS[0], ROWS[0]._replace(variant="own", floor=2.2)]
    write_runs(tmp_path / "runs.csv", rows)
    found = read_runs(tmp_path / "runs.csv")
    assert repr(found) == repr(rows)  # a NaN equals no NaN
    assert [type(x) for x in found[1]] == [type(x) for x in rows[1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("seed,", "seeds,"), "not a runs.csv of this version"),
        (lambda text: "", "not a runs.csv of this version"),
        (lambda text: text + "x" * 200_000, "is not CSV: field larger than field limit"),
        (lambda text: text + "\udcff", "is not UTF-8 text: byte "),
        (lambda text: text.replace(",32.0,", ",many,"), "line 2: could not convert"),
        (lambda text: text.replace(",32.0,", ","), "line 2: 19 fields instead of 20"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, change, said):
    path = tmp_path / "runs.csv"
    write_runs(path, ROWS)
    path.write_text(change(path.read_text()), "utf-8", "surrogateescape")
    with pytest.raises(ValueError, match=said) as raised:
        read_runs(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.csv cannot be read: No such file"):
        read_runs(tmp_path / "absent.csv")
