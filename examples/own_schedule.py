"""Bits by round: few at first, more as the model settles, and more for clients with more images.

``allocator.schedule.bits`` may also list the bits round by round; the last one holds on.
"""

import numpy as np

from fedjax_diffusion import load_config, run


def main(workdir: str = "runs/own_schedule", num_rounds: int = 8, **settings) -> list[list[int]]:
    """Returns the bits of each client in each round; 0 stands for a client that was left out."""
    own = {
        "allocator.method": "schedule",
        "allocator.schedule.bits": (2, 10),  # first and last
        "allocator.schedule.linear_rounds": num_rounds,
        "allocator.schedule.by_weight": True,
        "num_rounds": num_rounds,
    }
    records = run(load_config("digits", own | settings), workdir).records
    for record in records:
        mean = np.mean([bits for bits in record["num_bits"] if bits] or [0])
        print(f"round {record['round']}: {record['num_bits']} bits, mean {mean:.1f}")
    return [record["num_bits"] for record in records]


if __name__ == "__main__":
    main()
