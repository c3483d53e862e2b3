"""One shared band by SciPy: energies from the problem's statement, nothing of the solvers."""

import itertools

import jax
import numpy as np
from scipy.optimize import minimize

from fedjax_diffusion.bits import BIT_WIDTHS
from tests.allocation.golden import least_values


def fill_up(problem):
    """Returns the problem of one client among three, two of them absent, over the same band."""
    tripled = jax.tree.map(lambda leaf: np.repeat(leaf, 3) if leaf.ndim else leaf, problem)
    return tripled.replace(is_present=[True, False, False], bandwidth_hz=problem.bandwidth_hz / 3)


def payload_at(problem, bits):
    return 8 * -(-int(problem.num_parameters) * int(bits) // 8) + float(problem.overhead_bits)


def error_at(problem, k, bits):
    return 0.0 if bits == 32 else problem.error_weight[k] / (2.0**bits - 1) ** 2


def full_power_seconds(problem, k, payload, band):
    noise = problem.noise_density_watts_per_hz * band / problem.channel_gain[k]
    return payload / (band * np.log2(1 + problem.max_power_watts[k] / noise))


def least_band(problem, k, payload):
    """Least band of client k by bisection on the rate, up to the whole band; infinite beyond.

    Payloads may be an array, for as many bands at once.
    """
    room = problem.time_budget_seconds - problem.compute_cycles[k] / problem.max_frequency_hz[k]
    whole = np.full(np.shape(payload), np.log(problem.bandwidth_hz.sum()))
    low, high = np.full_like(whole, -60.0), whole
    for _ in range(80):
        middle = 0.5 * (low + high)
        is_late = full_power_seconds(problem, k, payload, np.exp(middle)) > room
        low, high = np.where(is_late, middle, low), np.where(is_late, high, middle)
    is_never = full_power_seconds(problem, k, payload, np.exp(whole)) > room
    return np.where(is_never, np.inf, np.exp(high))


def shared_energy(problem, bits):
    """Least energy of all clients at these bits over their whole band, joules, and their bands.

    By SLSQP over the logarithms of the bands and of the upload times; infinite where the bits do
    not fit.
    """
    num_clients, deadline = problem.num_clients, float(problem.time_budget_seconds)
    payload = np.array([payload_at(problem, b) for b in bits])
    total = problem.bandwidth_hz.sum()
    least = np.array([least_band(problem, k, payload[k]) for k in range(num_clients)])
    if not least.sum() < total:
        return np.inf, least
    room = deadline - problem.compute_cycles / problem.max_frequency_hz
    noise = problem.noise_density_watts_per_hz / problem.channel_gain
    work = problem.effective_capacitance * problem.compute_cycles**3

    def split(x):
        band, upload = np.exp(x[:num_clients]) * total, np.exp(x[num_clients:]) * deadline
        watts = noise * band * np.expm1(payload * np.log(2) / (band * upload))
        return band, upload, watts

    def energy(x):
        _, upload, watts = split(x)
        return np.sum(work / (deadline - upload) ** 2 + upload * watts)

    def slope(x):
        _, upload, watts = split(x)
        steepness = upload * watts * steepness_of(x)
        by_upload = 2.0 * work * upload / (deadline - upload) ** 3 + upload * watts - steepness
        return np.concatenate([upload * watts - steepness, by_upload])

    def steepness_of(x):
        """How fast the log of the power falls with that of the upload time."""
        band, upload, _ = split(x)
        load = payload * np.log(2) / (band * upload)
        return load / -np.expm1(-load)

    def power_slopes(x):
        steepness = steepness_of(x)
        return np.hstack([np.diag(steepness - 1.0), np.diag(steepness)])

    limits = [
        {
            "type": "ineq",
            "fun": lambda x: 1.0 - np.sum(np.exp(x[:num_clients])),
            "jac": lambda x: np.append(-np.exp(x[:num_clients]), np.zeros(num_clients)),
        },
        {
            "type": "ineq",
            "fun": lambda x: np.log(problem.max_power_watts / split(x)[2]),
            "jac": power_slopes,
        },
    ]
    longest = np.log(room / deadline)
    bounds = [(low, 0.0) for low in np.log(least / total)] + [(-12.0, high) for high in longest]
    band = least + (total - least.sum()) / num_clients
    shortest = [full_power_seconds(problem, k, payload[k], band[k]) for k in range(num_clients)]
    upload = np.sqrt(np.asarray(shortest) * room)
    start = np.concatenate([np.log(band / total), np.log(upload / deadline)])
    scale = energy(start)
    found = minimize(
        lambda x: energy(x) / scale,
        start,
        jac=lambda x: slope(x) / scale,
        method="SLSQP",
        bounds=bounds,
        constraints=limits,
        options={"ftol": 1e-13, "maxiter": 500},
    )
    assert min(float(np.min(limit["fun"](found.x))) for limit in limits) > -1e-9
    return energy(found.x), split(found.x)[0]


def energy_over(problem, k, payload, band):
    """Least energy of client k over its own band; infinite where it is late.

    Clients, payloads and bands may be arrays of one shape, for as many cases at once.
    """
    deadline = float(problem.time_budget_seconds)
    noise = problem.noise_density_watts_per_hz * band / problem.channel_gain[k]
    room = deadline - problem.compute_cycles[k] / problem.max_frequency_hz[k]
    least = full_power_seconds(problem, k, payload, band)
    work = problem.effective_capacitance[k] * problem.compute_cycles[k] ** 3

    def energy(log_upload):
        upload = np.exp(log_upload)
        watts = noise * np.expm1(payload * np.log(2) / (band * upload))
        return work / (deadline - upload) ** 2 + upload * watts

    found = least_values(energy, np.log(np.minimum(least, room)), np.log(room + 0.0 * least))
    return np.where(least > room, np.inf, found)


def priced_energies(problem, bit_widths, price):
    """Least energy plus price of the band, by bits, of each client.

    Args:
      problem: clients and the band that they share.
      bit_widths: per client its least band by bits.
      price: of bandwidth; bands up to a hundred times the whole are tried.
    """
    cases = [(k, b, band) for k, bands in enumerate(bit_widths) for b, band in bands.items()]
    k, payload = (
        np.array([k for k, *_ in cases]),
        np.array([payload_at(problem, b) for _, b, _ in cases]),
    )
    low = np.log(np.array([band for *_, band in cases]))
    high = np.full_like(low, np.log(100.0 * problem.bandwidth_hz.sum()))

    def paid(log_hz):
        return energy_over(problem, k, payload, np.exp(log_hz)) + price * np.exp(log_hz)

    found = [{} for _ in bit_widths]
    for (client, b, _), joules in zip(cases, least_values(paid, low, high), strict=True):
        found[client][b] = joules
    return found


def brute_force(problem):
    """``(energy, bits)`` of the best combination within error budget and band, or None.

    Every combination is bounded from below at one price of bandwidth, that of a first answer, and
    solved by SLSQP unless its bound is above the best.
    """
    clients, total = range(problem.num_clients), problem.bandwidth_hz.sum()
    bit_widths = [bit_widths_of(problem, k) for k in clients]
    feasible = [
        bits
        for bits in itertools.product(*bit_widths)
        if sum(error_at(problem, k, bits[k]) for k in clients) <= problem.error_budget
        and sum(bit_widths[k][bits[k]] for k in clients) < total
    ]
    if not feasible:
        return None
    first = min(feasible, key=sum)
    best, bands = shared_energy(problem, first)
    best = (best, first)
    payload = payload_at(problem, first[0])
    around = bands[0] * np.array([1.0 - 1e-5, 1.0 + 1e-5])
    high, low = energy_over(problem, np.zeros(2, int), np.full(2, payload), around)
    price = (high - low) / (2e-5 * bands[0]) if np.isfinite(high) else 0.0
    priced = priced_energies(problem, bit_widths, price)
    bounds = {bits: sum(priced[k][bits[k]] for k in clients) - price * total for bits in feasible}
    for bits in sorted(feasible, key=bounds.__getitem__):
        if bounds[bits] >= best[0]:
            break
        best = min(best, (shared_energy(problem, bits)[0], bits))
    return best


def bit_widths_of(problem, k):
    """Least band by bits, of what client k may use and deliver over the whole band."""
    allowed = [b for b in BIT_WIDTHS if problem.min_bits[k] <= b <= problem.max_bits[k]]
    payload = np.array([payload_at(problem, b) for b in allowed])
    least = zip(allowed, least_band(problem, k, payload), strict=True)
    return {b: band for b, band in least if np.isfinite(band)}
