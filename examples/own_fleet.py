"""Devices of your own from a CSV file: what each kind of device spends in a round.

A column that the file does not have comes from the config (docs/devices.md): here the band.
``fedjax-diffusion study --config.devices.csv=fleet.csv --config.partition.num_clients=5`` takes the
same file.
"""

from pathlib import Path

import numpy as np

from fedjax_diffusion import load_config, run

FLEET = """\
class,   count, distance_meters, max_frequency_hz, max_power_watts, min_bits, max_bits, \
effective_capacitance, flops_per_cycle
camera,      3,             150,            1.0e9,            0.10,        2,        8, 1e-28,  4
gateway,     2,             300,            2.2e9,            0.20,        6,       16, 1e-28, 16
"""
KINDS = {"camera": slice(0, 3), "gateway": slice(3, 5)}
"""Clients of each kind, in the order of the rows."""


def main(workdir: str = "runs/own_fleet", **settings) -> dict[str, float]:
    """Returns the joules of a client of each kind, mean over its clients and the rounds."""
    path = Path(workdir).with_name("fleet.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FLEET)
    own = {"devices.csv": path, "partition.num_clients": 5, "num_rounds": 5}
    records = run(load_config("digits", own | settings), workdir).records
    joules = np.array([r["client_compute_joules"] for r in records])
    joules += np.array([r["client_transmit_joules"] for r in records])
    means = {kind: float(joules[:, clients].mean()) for kind, clients in KINDS.items()}
    for kind, mean in means.items():
        print(f"{kind}: {mean:.3g} J a round; bits {records[-1]['num_bits'][KINDS[kind]]}")
    return means


if __name__ == "__main__":
    main()
