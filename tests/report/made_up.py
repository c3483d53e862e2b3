"""Tables of a made-up sweep whose every number follows from its settings, seed and round."""

import pyarrow as pa

from fedjax_diffusion.report.tables import ReportTables

METHODS = {"fixed_bits:2": 2.0, "fixed_bits:8": 8.0, "on_demand": 5.0, "full_precision": 32.0}
NUM_ROUNDS = 6
FLOOR = 20.0


def hash_of(method, seed, seconds=20.0):
    """The hash of a point."""
    return f"{list(METHODS).index(method):06x}{int(seconds):03x}{seed:03x}"


def quality_of(method, seed):
    """The final quality: better with more bits, and of the same order for every seed."""
    return 30.0 + 40.0 / METHODS[method] + 2.0 * seed


def loss_of(method, seed, round):
    """The loss of a round; that of round 3 is worse than the one before."""
    return 1.0 / (1 + round) + 0.5 * (round == 3) + 1 / METHODS[method] + 0.01 * seed


def along_of(method, seed, round):
    """The quality of few images, after every second round."""
    return 200.0 / (1 + round) + quality_of(method, seed) if round % 2 else None


def joules_of(method, seed, seconds=20.0):
    """The energy of a round."""
    return METHODS[method] * (1.0 + 0.1 * seed) * 20.0 / seconds


def bytes_of(method):
    """The bytes of a round."""
    return int(METHODS[method] * 1000)


def make_tables(methods=tuple(METHODS), num_seeds=5, deadlines=(20.0,), folders=None, **changes):
    """Tables with full precision as the reference; ``changes`` in every row of the index."""
    index, rounds = [], []
    for method in methods:
        for seconds in deadlines:
            for seed in range(num_seeds):
                index.append(make_row(method, seed, seconds) | changes)
                rounds += [make_round(method, seed, seconds, r) for r in range(NUM_ROUNDS)]
    axes = ["allocator.method", "seed"]
    if len(deadlines) > 1:
        axes.append("allocator.time_budget_seconds")
    return ReportTables(
        kind="sweep",
        title="made up",
        index=pa.Table.from_pylist(index),
        rounds=pa.Table.from_pylist(rounds),
        folders=folders or {},
        axes=tuple(axes),
        reference=hash_of("full_precision", 0, deadlines[0]),
    )


def make_row(method, seed, seconds=20.0):
    """A row of the index."""
    joules = NUM_ROUNDS * joules_of(method, seed, seconds)
    return {
        "hash": hash_of(method, seed, seconds),
        "label": f"{method}+seed-{seed}",
        "status": "evaluated",
        "allocator.method": method,
        "allocator.time_budget_seconds": seconds,
        "seed": seed,
        "rounds": NUM_ROUNDS,
        "loss": loss_of(method, seed, NUM_ROUNDS - 1),
        "mean_bits": METHODS[method],
        "compute_joules": 0.25 * joules,
        "transmit_joules": 0.75 * joules,
        "total_joules": joules,
        "uplink_bytes": NUM_ROUNDS * bytes_of(method),
        "quality_name": "fcd",
        "quality": quality_of(method, seed),
        "quality_floor": FLOOR,
        "num_samples": 2000,
        "extractor": "classifier",
        "measure_version": "2",
    }


def make_round(method, seed, seconds, round):
    """A row of the table of rounds."""
    bits, along = METHODS[method], along_of(method, seed, round)
    return {
        "hash": hash_of(method, seed, seconds),
        "label": "",
        "round": round,
        "simulated_seconds": seconds * (round + 1),
        "mean_bits": bits + (round if method == "on_demand" else 0),
        "loss": loss_of(method, seed, round),
        "compute_joules": 0.25 * joules_of(method, seed, seconds),
        "transmit_joules": 0.75 * joules_of(method, seed, seconds),
        "total_joules": joules_of(method, seed, seconds),
        "uplink_bytes": bytes_of(method),
        "quantization_error": 0.0 if bits == 32 else (1 + round) * 4.0**-bits,
        "quantization_error_bound": 0.0 if bits == 32 else 9 * 4.0**-bits,
        "quality_name": None if along is None else "fcd_500",
        "quality": along,
    }
