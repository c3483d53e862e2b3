"""Weights out of one run and into another: export, a look with NumPy, and ``init_from``.

On the command line: ``fedjax-diffusion export --workdir=runs/first`` and
``fedjax-diffusion run --workdir=runs/second --config.init_from=FILE``.
"""

import json
from pathlib import Path

import numpy as np

from fedjax_diffusion import export, load_config, run


def main(workdir: str = "runs/weights", num_rounds: int = 5, **settings) -> list[float]:
    """Returns the losses of the first rounds: of new weights, and of those of the first run."""
    folder = Path(workdir)
    own = {"num_rounds": num_rounds} | settings
    first = run(load_config("digits", own), folder / "first")
    path = export(first.workdir, format="npz")
    with np.load(path) as weights:
        print(f"{path}: {len(weights)} arrays, {sum(weights[n].size for n in weights)} numbers")

    second = run(load_config("digits", own | {"init_from": path}), folder / "second")
    started = json.loads((second.workdir / "environment.json").read_text())["init_from"]
    print("the second run started from", started["sha256"])
    losses = [result.records[0]["loss"] for result in (first, second)]
    print(f"loss of the first round: {losses[0]:.3f} with new weights, then {losses[1]:.3f}")
    return losses


if __name__ == "__main__":
    main()
