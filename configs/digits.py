"""The embedded default: real handwritten digits on 8 heterogeneous devices, on a CPU in minutes.

Run:      fedjax-diffusion run --config=configs/digits.py
"""

from fedjax_diffusion import load_config


def get_config():
    """Returns the default as it is."""
    return load_config("configs/default.py")
