"""Config file of the run with the smallest network, for the commands."""

from tests.tiny import pixel_config


def get_config():
    """Returns the tiny config with the network of two numbers a pixel."""
    return pixel_config()
