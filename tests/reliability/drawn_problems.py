"""Inputs of ``allocate``: a problem that is right, changed in one to three places."""

import json

from hypothesis import strategies as st

from fedjax_diffusion.allocation.problem import PER_CLIENT
from tests.reliability.drawn_values import METHODS

PROBLEM = {
    "compute_cycles": [2e9, 4e9],
    "effective_capacitance": 1e-28,
    "max_frequency_hz": 2e9,
    "channel_gain": 1e-11,
    "bandwidth_hz": 1e6,
    "max_power_watts": 0.2,
    "noise_density_watts_per_hz": 4e-21,
    "num_parameters": 267_000,
    "overhead_bits": 512,
    "min_bits": 2,
    "max_bits": 16,
    "error_weight": [1.0, 2.0],
    "error_budget": 1e-3,
    "time_budget_seconds": 6.0,
}
NUMBERS = (
    *(
        "0",
        "-0.0",
        "-1",
        "1",
        "2",
        "16",
        "17",
        "32",
        "33",
        "1.5",
        "1e-9",
        "1e9",
        "5e-324",
        "1e-308",
    ),
    *("1e-300", "1e-160", "1e-100", "1e-30", "1e30", "1e100", "1e120", "1e160", "1e300", "1e308"),
    *("1e400", "-1e308", "NaN", "Infinity", "-Infinity", "9" * 400, "9" * 5000, "0x1", "1_0", "٣"),
)
"""As a file has them."""
OTHERS = (
    *("null", "true", "false", '"two"', '""', '"1"', "[]", "{}", "[[1]]", "[1, 2, 3]", "[1]"),
    *('[1, "a"]', "[null, 1]", "[true, 2]", '{"a": 1}', "[" * 3000, "-", "1,", "", "[1, NaN]"),
)
NAMES = (*PROBLEM, "is_present", "bit_width_error", "bit_width_payload_bits")
OTHER_NAMES = ("speed", "", "min_bits ", "Min_bits", "__class__", "x" * 300, "num_clients", "é")
"""Of no field."""
FILES = (
    *(b"", b"{", b"[]", b"3", b"null", b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b'{"a": 1, "a": 2}'),
    *(b"{" * 5000, b'{"min_bits": 2} x', b"\0" * 64, b'"' + b"x" * 9000),
)
"""In the place of a problem."""
TABLES = (
    *(
        b"",
        b"\n",
        b"min_bits\n2\n2\n",
        b"min_bits\n2\n",
        b"channel_gain,max_bits\n1e-11,8\n1e-12,4",
    ),
    *(b"min_bits;max_bits\n2;8\n2;8\n", b"min_bits\ntwo\n2\n", b"speed\n1\n2\n", b"min_bits\n\n\n"),
    *(b"min_bits,min_bits\n1,2\n3,4\n", b"\xef\xbb\xbfmin_bits\r\n2\r\n2\r\n", b"\xff\n1\n2\n"),
    *(b"min_bits\n1,2\n2\n", b"is_present\n1\n0\n", b"is_present\nno\nyes\n", b'"min_bits\n2\n2\n'),
    *(b"channel_gain\n1e-400\n1e-11\n", b"channel_gain\nnan\n1e-11\n", b"min_bits\n2\n2\n" * 2),
    *(b"min_bits\n" + b"9" * 200_000 + b"\n2\n", b"a\0b\n1\n2\n"),
)
GOOD_METHODS = ("on_demand",) * 4 + ("relaxed", "demand", "fixed_bits:8", "largest")
ENDS = (".json", ".csv", ".txt", "", ".JSON")


@st.composite
def draw_problem(draw):
    """Draws (content of a problem, of a table or None, arguments); a third have an answer."""
    fields = {name: json.dumps(value) for name, value in PROBLEM.items()}
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(NAMES))
        fields[name] = draw(_draw_near(name))
    table, files = None, [_to_content(fields)]
    arguments = [f"--method={draw(st.sampled_from(GOOD_METHODS))}", "--output=answer.json"]
    match draw(st.integers(0, 15)):
        case 0 | 1 | 2 | 3 | 4:
            fields[draw(st.sampled_from(NAMES))] = draw(_draw_far())
        case 5:
            fields.pop(draw(st.sampled_from(tuple(PROBLEM))))
            fields |= {draw(st.sampled_from(OTHER_NAMES)): "1"} if draw(st.booleans()) else {}
        case 6:
            table = draw(st.sampled_from(TABLES))
            names = table.partition(b"\n")[0].decode(errors="replace")
            fields = {name: text for name, text in fields.items() if name not in names}
        case 7:
            files += FILES
        case 8:
            arguments[0] = f"--method={draw(st.sampled_from(METHODS))}"
            arguments += ["--refine"]
        case 9:
            arguments[1] = f"--output=answer{draw(st.sampled_from(ENDS))}"
    files[0] = _to_content(fields)
    return draw(st.sampled_from(files)), table, arguments


def _to_content(fields):
    return (
        f"{{{', '.join(f'{json.dumps(name)}: {text}' for name, text in fields.items())}}}".encode()
    )


def _draw_near(name):
    """Draws a value that a field may have, up to a million times the usual one."""
    match name:
        case "is_present":
            return st.sampled_from(("true", "[true, false]", "[false, true]"))
        case "bit_width_error" | "bit_width_payload_bits":
            row = [2.0**-n if name == "bit_width_error" else 1e6 * n for n in range(1, 18)]
            return st.sampled_from(("null", json.dumps([row, row])))
        case "min_bits" | "max_bits":
            return st.sampled_from(("1", "2", "8", "16", "32", "[1, 16]", "[8, 4]"))
    usual = PROBLEM[name] if not isinstance(PROBLEM[name], list) else PROBLEM[name][0]
    is_whole = isinstance(usual, int)
    number = st.floats(-6 * (not is_whole), 6).map(lambda decades: usual * 10**decades)
    number = number.map(round if is_whole else float).map(repr)
    if name in PER_CLIENT:
        return number | st.tuples(number, number).map(lambda pair: f"[{pair[0]}, {pair[1]}]")
    return number


def _draw_far():
    number = st.sampled_from(NUMBERS)
    pair = st.tuples(number, number).map(lambda pair: f"[{pair[0]}, {pair[1]}]")
    return number | number | pair | st.sampled_from(OTHERS) | st.floats().map(repr)
