"""The package's command line with an additional data set: ``noise``, images of 32x32x3.

    python -m benchmarks.session.noise_run run --config=cifar10 --config.data.name=noise

It measures the start of a CIFAR-10 run without CIFAR-10.
"""

import sys

import numpy as np

from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data import ImageDataset, sources

NUM_IMAGES = 4_096


def load_noise(name: str, split: str, data_dir: sources.DataDir = None) -> ImageDataset:
    """Returns uniform noise of 10 classes, the same in every call."""
    del split, data_dir
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (NUM_IMAGES, 32, 32, 3), dtype=np.uint8)
    return ImageDataset(images, np.arange(NUM_IMAGES, dtype=np.int32) % 10, 10, name)


if __name__ == "__main__":
    sources.LOADERS["noise"] = load_noise
    sys.exit(main())
