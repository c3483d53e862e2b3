"""The table of a session: measurements and aims."""

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.session.record import Values

SPEED = "milliseconds_per_client_step"
NOT_MEASURED = "not measured"
Parts = dict[str, Values]


class Row(NamedTuple):
    """A line of the table.

    Attributes:
      what: the measured quantity.
      value: None if it was not measured.
      aim: None if there is none.
      unit: printed after the value; "%" multiplies it by a hundred.
      is_least: whether the value shall be at least the aim, not at most.
      note: on the value, or the reason of a missing value.
    """

    what: str
    value: float | None
    aim: float | None = None
    unit: str = ""
    is_least: bool = False
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is reached; None if there is no value or no aim."""
        if self.value is None or self.aim is None:
            return None
        return self.value >= self.aim if self.is_least else self.value <= self.aim

    def to_cells(self) -> tuple[str, str, str, str]:
        """Returns quantity, value, aim and verdict, as text."""
        value = NOT_MEASURED if self.value is None else self._show(self.value)
        sign = ">=" if self.is_least else "<="
        aim = "" if self.aim is None else f"{sign} {self._show(self.aim)}"
        verdict = {None: "", True: "met", False: "missed"}[self.is_met]
        return self.what, value, aim, f"{verdict}{' ' * bool(verdict and self.note)}{self.note}"

    def _show(self, number: float) -> str:
        if self.unit == "%":
            return f"{100 * number:.0f} %"
        return f"{number:.3g}{' ' * bool(self.unit)}{self.unit}"


def find(parts: Parts, part: str, case: str, name: str) -> float | None:
    """Returns a number of a case; None if it was not measured."""
    values = parts.get(part, {}).get("cases", {}).get(case, {})
    return values.get(name)


def explain(parts: Parts, part: str, case: str) -> str:
    """Returns the reason of a case's missing value; "" if it is unknown."""
    if part not in parts:
        return ""
    return parts[part].get("cases", {}).get(case, {}).get("not_measured", "")[:60]


def ratio(above: float | None, below: float | None) -> float | None:
    """Returns the quotient, or None if a number is missing."""
    return None if above is None or not below else above / below


def list_rows(parts: Parts) -> list[Row]:
    """Returns the whole table."""
    rows = [*_start_rows(parts), *_correctness_rows(parts)]
    for num_clients, aim in _clients(parts):
        rows += _small_rows(parts, num_clients, aim)
    return [*rows, *_pytorch_rows(parts), *_other_rows(parts)]


def _start_rows(parts: Parts) -> Iterable[Row]:
    aims = {"cold": (25.0, None, 90.0), "warm": (8.0, 20.0, 20.0)}
    for heat, (first, whole, _) in aims.items():
        case = f"default, {heat}"
        names = {"first_round_seconds": ("first round's line", first)}
        names["whole_seconds"] = ("whole command", whole)
        for name, (what, aim) in names.items():
            value, why = find(parts, "start", case, name), explain(parts, "start", case)
            yield Row(f"run, {heat} cache: {what}", value, aim, "s", note=why)
    for heat, (_, _, beyond) in aims.items():
        case = f"cifar10, {heat}"
        line = find(parts, "start", case, "first_round_seconds")
        rounds: list = (
            parts.get("start", {}).get("cases", {}).get(case, {}).get("round_seconds", [])
        )
        value = line - rounds[1] if line is not None and len(rounds) > 1 else None
        why = explain(parts, "start", case)
        yield Row(f"cifar10, {heat} cache: line beyond a round", value, beyond, "s", note=why)


def _correctness_rows(parts: Parts) -> Iterable[Row]:
    cases = parts.get("correctness", {}).get("cases", {})
    for kind in ("codes", "wire"):
        equal = [v["is_equal"] for c, v in cases.items() if c.startswith(kind) and "is_equal" in v]
        value = sum(equal) / len(equal) if equal else None
        yield Row(f"{kind} equal to the CPU's", value, 1.0, "%", is_least=True)
    for num_bits in (32, 8):
        kind = f"round, {num_bits} bits"
        found = [
            v["max_difference"] for c, v in cases.items()
            if c.startswith(kind) and "max_difference" in v
        ]  # fmt: skip
        yield Row(f"{kind}: largest difference to the CPU", max(found, default=None))
    name = "losses, default and highest precision"
    value = find(parts, "correctness", name, "mean_difference")
    error = find(parts, "correctness", name, "standard_error")
    pairs = cases.get(name, {}).get("losses", [])
    note = "" if error is None else f"+- {error:.1g}, {len(pairs)} seeds"
    yield Row("loss, default less highest precision", value, note=note)


def _clients(parts: Parts) -> list[tuple[int, float | None]]:
    aims: dict[int, float | None] = {8: 0.25, 64: 0.10, 512: 0.08}
    cases = parts.get("small", {}).get("cases", {})
    seen = {int(c[2:].partition(",")[0]): None for c in cases if c.startswith("K=")}
    return list({**aims, **{k: aims.get(k) for k in seen}}.items())


def _small_rows(parts: Parts, num_clients: int, aim: float | None) -> Iterable[Row]:
    K, cases = f"K={num_clients}, ", parts.get("small", {}).get("cases", {})
    ways = {
        case.removeprefix(K): values[SPEED]
        for case, values in cases.items()
        if case.startswith(K) and "scan" not in case and SPEED in values
    }
    best = min(ways, key=ways.__getitem__, default=None)
    note = "" if best is None else f"by {best}"
    yield Row(f"0.27M, {K}best way", ways.get(best or ""), aim, "ms", note=note)
    auto = ways.get("auto")
    choice = cases.get(f"{K}auto", {}).get("choice", "")
    value = ratio(auto, None if best is None else ways[best])
    yield Row(f"0.27M, {K}auto / best", value, 1.10, note=choice)
    pairs = {"vmap/matmul": f"scan x{num_clients}/matmul", "chunked:64/matmul": "scan x64/matmul"}
    pairs |= {"map/stock": "scan x1/stock"}
    for way, scan in pairs.items():
        limit = find(parts, "small", K + scan, SPEED)
        if limit is not None or way == "vmap/matmul":
            yield Row(f"0.27M, {K}{way} / {scan}", ratio(ways.get(way), limit), 1.05)


def _pytorch_rows(parts: Parts) -> Iterable[Row]:
    small = [
        values[SPEED]
        for case, values in parts.get("small", {}).get("cases", {}).items()
        if case.startswith("K=8,") and "scan" not in case and SPEED in values
    ]
    eager = find(parts, "small", "PyTorch eager", SPEED)
    yield Row("0.27M, K=8 best / PyTorch eager", ratio(min(small, default=None), eager))
    ours = find(parts, "medium", "map/stock", SPEED)
    yield Row("4.24M: ours, map/stock", ours, unit="ms")
    names = {"PyTorch eager": 0.25, "PyTorch compiled": 0.7, "scan x1/stock": 1.05}
    for name, aim in names.items():
        why = explain(parts, "medium", name)
        value = ratio(ours, find(parts, "medium", name, SPEED))
        yield Row(f"4.24M: ours / {name}", value, aim, note=why)
    case = "map/stock, bfloat16"
    ours = find(parts, "large", case, SPEED)
    yield Row(
        "35.7M bfloat16: ours, map/stock", ours, unit="ms", note=explain(parts, "large", case)
    )
    compiled = find(parts, "large", case, "compile_seconds")
    yield Row("35.7M bfloat16: compilation of round and init", compiled, unit="s")
    share = find(parts, "large", case, "share_of_peak")
    yield Row("35.7M bfloat16: share of the dense peak", share, 0.30, "%", is_least=True)
    others = {"PyTorch compiled, autocast": 0.9, "scan x1/stock, bfloat16": 1.05}
    for name, aim in others.items():
        why = explain(parts, "large", name)
        value = ratio(ours, find(parts, "large", name, SPEED))
        yield Row(f"35.7M bfloat16: ours / {name}", value, aim, note=why)


def _other_rows(parts: Parts) -> Iterable[Row]:
    copy = find(parts, "quantize", "copy", "gigabytes_per_second")
    for case in ("rows, 8 bits", "rows, 2 bits", "tree, 8 bits"):
        rate = find(parts, "quantize", case, "gigabytes_per_second")
        aim = 0.60 if case.startswith("rows") else None
        note, times = "", [find(parts, "quantize", name, "milliseconds") for name in (case, "copy")]
        if rate is not None and copy is not None:
            note = f"{rate:.0f} of {copy:.0f} GB/s, the time of {ratio(*times):.2g} copies"
        what = f"quantize-dequantize, {case}, of a copy's rate"
        yield Row(what, ratio(rate, copy), aim, "%", is_least=True, note=note)
    draws = {
        "digits, 5,000": 5.0,
        "CIFAR-10, 1,000, bfloat16": 60.0,
        "CIFAR-10, 1,000, float32": 60.0,
    }
    for case, aim in draws.items():
        value, why = (
            find(parts, "sampling", case, "whole_seconds"),
            explain(parts, "sampling", case),
        )
        yield Row(f"samples, {case}, 50 steps", value, aim, "s", note=why)
    for case in ("on demand", "full precision"):
        values = parts.get("real", {}).get("cases", {}).get(case, {})
        losses = [loss for loss in values.get("losses", []) if loss is not None]
        note = explain(parts, "real", case)
        if losses:
            joules, megabytes = sum(values["joules"]), sum(values["bytes"]) / 1e6
            note = f"loss {losses[0]:.3f} to {losses[-1]:.3f}, {joules:.4g} J, {megabytes:.4g} MB"
            note += f", {values['num_rounds']} rounds"
        yield Row(f"real CIFAR-10, {case}", values.get("whole_seconds"), 300.0, "s", note=note)
    compilations = parts.get("compile", {}).get("cases", {})
    for case, values in compilations.items():
        why = values.get("not_measured", "")[:60]
        yield Row(f"compile {case}", values.get("compile_seconds"), unit="s", note=why)


def format_table(rows: list[Row]) -> str:
    """Returns the table as aligned text."""
    cells = [("what", "measured", "aim", ""), *(row.to_cells() for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(3)]
    lines = []
    for what, value, aim, note in cells:
        line = f"{what:{widths[0]}s}  {value:>{widths[1]}s}  {aim:>{widths[2]}s}  {note}"
        lines.append(line.rstrip())
    return "\n".join(lines)
