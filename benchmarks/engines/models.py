"""The compared models, and the protocol between an engine's process and the benchmark."""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple


class Model(NamedTuple):
    """A U-Net and its data.

    Attributes:
      channels: at full resolution.
      image_shape: (H, W, C).
      batch_size: of a local step.
      channel_multipliers: one entry per level.
      num_res_blocks: per level.
      attention_resolutions: image heights with attention; the middle always has it.
    """

    channels: int
    image_shape: tuple[int, int, int]
    batch_size: int
    channel_multipliers: tuple[int, ...] = (1, 1)
    num_res_blocks: int = 1
    attention_resolutions: tuple[int, ...] = ()


MODELS = {
    "0.27M-8x8": Model(32, (8, 8, 1), 32),
    "1.06M-8x8": Model(64, (8, 8, 1), 32),
    "1.06M-16x16": Model(64, (16, 16, 1), 16),
    "4.24M-32x32": Model(128, (32, 32, 3), 32),
}
SESSION_MODELS = {
    "0.27M-8x8": MODELS["0.27M-8x8"],
    "4.24M-32x32": MODELS["4.24M-32x32"],
    "35.7M-32x32": Model(128, (32, 32, 3), 64, (1, 2, 2, 2), 2, (16,)),
    "tiny-8x8": Model(4, (8, 8, 1), 4, (1,)),
}
"""The models of the accelerator session, the last for a rehearsal."""
EXAMPLES_PER_CLIENT = 64
NUM_DIFFUSION_STEPS = 200
LEARNING_RATE = 2e-3
CLIP_NORM = 1.0


def serve(run: Callable[[], float]) -> None:
    """Warms up, then times ``run`` once for each line on stdin.

    ``run`` returns a loss, which shows that all engines train the same model.
    """
    print("ready", run(), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = run()
        print(time.perf_counter() - start, loss, flush=True)
