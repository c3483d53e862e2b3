"""Pictures of your own: a folder with a sub-folder per class, cut to squares of 8 pixels.

Here the pictures are drawn first: bars in two directions. With a folder of yours, the last lines of
``main`` are all that you need; ``fedjax-diffusion run --config.data.name=folder
--config.data.data_dir=photos --config.data.size=32`` is the same without Python.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from fedjax_diffusion import load_config, run


def draw_pictures(folder: Path, num_pictures: int = 60) -> None:
    """Draws gray pictures of 12 by 10 pixels, each with a bright row or a bright column."""
    generator = np.random.default_rng(0)
    for name in ("rows", "columns"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(num_pictures):
            pixels = generator.integers(0, 60, (12, 10)).astype(np.uint8)
            place = 2 + generator.integers(7)
            pixels[(place, slice(None)) if name == "rows" else (slice(None), place)] = 250
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")


def main(workdir: str = "runs/own_pictures", **settings) -> list[dict]:
    """Trains on the pictures, draws samples, and returns the records of the rounds."""
    pictures = Path(workdir).with_name("pictures")
    draw_pictures(pictures)
    own = {"data.name": "folder", "data.data_dir": pictures, "data.size": 8}
    own |= {"partition.num_clients": 4, "num_rounds": 5, "evaluation.held_out_split": None}
    result = run(load_config("digits", own | settings), workdir)
    print("samples:", *sorted((result.workdir / "samples").iterdir()))
    return result.records


if __name__ == "__main__":
    main()
