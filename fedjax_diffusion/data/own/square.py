"""Squares of pictures: cropped or padded, and scaled."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from PIL import Image

from fedjax_diffusion.values import OneOf, Range, check_value

FITS = ("crop", "pad")
Side: TypeAlias = Annotated[int, Range(1, 8192)]
Fit: TypeAlias = Annotated[str, OneOf(FITS)]


@dataclass(frozen=True)
class Square:
    """The squares that are made of pictures of any size.

    Attributes:
      side: of the square in pixels, in 1..8192; None: pictures stay as they are.
      fit: ``"crop"``: the largest central square is kept; ``"pad"``: the whole picture, between
        black bars.

    Raises:
      ValueError: a value is out of range, or there is a fit without a side.
    """

    side: int | None = None
    fit: str = "crop"

    def __post_init__(self) -> None:
        check_value("data.size", self.side, Side | None)
        check_value("data.fit", self.fit, Fit)
        if self.side is None and self.fit != FITS[0]:
            raise ValueError(f"data.fit={self.fit} needs data.size, the side of the squares")

    def cut(self, image: Image.Image) -> Image.Image:
        """Returns a picture as such a square; scaled with a triangle filter as wide as the scale.

        Args:
          image: 8 bits per channel, of any size.
        """
        if self.side is None or image.size == (self.side, self.side):
            return image
        if self.fit == "crop":
            side = min(image.size)
            left, top = ((length - side) // 2 for length in image.size)
            return image.resize(
                (self.side, self.side),
                Image.Resampling.BILINEAR,
                box=(left, top, left + side, top + side),
            )
        longest = max(image.size)
        width, height = (max(1, round(length * self.side / longest)) for length in image.size)
        square = Image.new(image.mode, (self.side, self.side))
        scaled = image.resize((width, height), Image.Resampling.BILINEAR)
        square.paste(scaled, ((self.side - width) // 2, (self.side - height) // 2))
        return square
