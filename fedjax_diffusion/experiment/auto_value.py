"""Settings that are a number, or ``auto`` where the program chooses it."""

from fedjax_diffusion.values import Checked

AUTO = "auto"


def auto_or(most: int) -> Checked:
    """Returns the rule of ``AUTO`` or a whole number in 1..most, which may be given as text."""

    def is_allowed(value: int | str) -> bool:
        if isinstance(value, str):
            is_number = value.isascii() and value.isdecimal() and len(value) <= len(str(most))
            return value == AUTO or (is_number and is_allowed(int(value)))
        return 1 <= value <= most

    return Checked(f"{AUTO} or a whole number in 1..{most}", is_allowed)
