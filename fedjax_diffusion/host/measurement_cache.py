"""Measurements of this machine, stored between runs."""

import json
import os
import zlib
from collections.abc import Callable
from typing import TypeVar

import jax

from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.cache import cache_folder

Answer = TypeVar("Answer")


def measure_once(
    question: dict,
    measure: Callable[[], Answer],
    is_complete: Callable[[Answer], bool] = lambda answer: True,
) -> Answer:
    """Returns the cached result of ``measure`` for this question, measuring it on first use.

    Answers are stored in the user's cache folder by question, version of JAX and devices. If a
    file cannot be read, its answer is measured again; if the folder cannot be written, nothing is
    stored.

    Args:
      question: plain values, everything that the answer depends on.
      measure: returns plain values that JSON can hold.
      is_complete: returns whether an answer shall be stored.
    """
    device = jax.devices()[0]
    asked = {
        **question,
        "jax": jax.__version__,
        "device": f"{device.platform} {device.device_kind}",
        "num_devices": jax.device_count(),
    }
    text = json.dumps(asked, sort_keys=True)
    folder = cache_folder()
    if folder is None:
        return measure()
    path = folder / "measurements" / f"{zlib.crc32(text.encode()):08x}.json"
    try:
        kept = json.loads(path.read_text())
        if kept["question"] == json.loads(text):
            return kept["answer"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    answer = measure()
    if not is_complete(answer):
        return answer
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.access(path.parent, os.W_OK):
            write_text(path, json.dumps({"question": asked, "answer": answer}, indent=2))
    except OSError:
        pass
    return answer
