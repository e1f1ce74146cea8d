"""Whether a resized picture is the right one: libraries resample and encode differently, so bits say nothing.

An answer is decoded by Pillow and laid over what Pillow made of the same picture: fully decoded, Lanczos, not encoded.
It must have that size, be near enough everywhere on average (the loss of an encoder, another resampler), and have the
right mean colour in each part: a region that is missing or misplaced may vanish in the average, but not there.
"""

from __future__ import annotations

import hashlib
import io
import math
from typing import Any

from PIL import Image, ImageChops, ImageStat

from offloop.bench.tasks.image.resizing import height_of

# Root of the mean squared difference, in levels of 0 to 255. Photographs that were resized right are at most 7 apart,
# mostly by the loss of JPEG at that quality; flipped ones 50 and more.
MOST_LEVELS = 16.0
# How far the mean colour of any of CELLS x CELLS parts may be off, in levels; 3 was seen. In a result so small that a
# part has few pixels it is more.
CELLS = 8
MOST_CELL_LEVELS = 16


class Reference:
    """The right picture, and the answers that were found to be it."""

    def __init__(self, data: bytes, width: int) -> None:
        """:raises OSError: `data` is no picture that Pillow reads, or neither greyscale nor RGB."""
        with Image.open(io.BytesIO(data)) as picture:
            if picture.mode not in ("L", "RGB"):
                raise OSError(f"expected greyscale or RGB, got {picture.mode}")
            size = (width, height_of(picture.size, width))
            self._picture = picture.resize(size, Image.Resampling.LANCZOS).convert("RGB")
        self._cells = _cells(self._picture)
        self._right: list[tuple[bytes, str]] = []  # with their SHA-256

    def judge(self, answer: Any, claimed: str | None = None) -> str | None:
        """What is wrong with an encoded picture, in words; None when nothing is. One that is known is not decoded.

        :param claimed: the SHA-256 that was given for it.
        """
        known = next((digest for right, digest in self._right if right == answer), None)
        if known is None:
            problem = self._problem(answer)
            if problem is not None:
                return problem
            known = hashlib.sha256(answer).hexdigest()
            self._right.append((answer, known))
        return None if claimed in (None, known) else f"has SHA-256 {known}, not {claimed}"

    def _problem(self, answer: Any) -> str | None:
        if not isinstance(answer, bytes):
            return f"is no picture: {answer!r}"
        try:
            with Image.open(io.BytesIO(answer)) as opened:
                kind, picture = opened.format, opened.convert("RGB")
        except (OSError, SyntaxError) as error:  # the latter is what Pillow raises of a broken header
            return f"cannot be decoded: {error}"
        if kind != "JPEG":
            return f"is {kind}, expected JPEG"
        if picture.size != self._picture.size:
            return f"has {_by(picture.size)} pixels, expected {_by(self._picture.size)}"
        apart = _levels(picture, self._picture)
        if apart > MOST_LEVELS:
            return f"is {apart:.1f} levels from the right picture, expected at most {MOST_LEVELS:g}"
        worst = max(high for _, high in ImageStat.Stat(ImageChops.difference(_cells(picture), self._cells)).extrema)
        if worst > MOST_CELL_LEVELS:
            return f"is {worst} levels off in one part, expected at most {MOST_CELL_LEVELS}"
        return None


def judge(answer: Any, right: Reference) -> str | None:
    """`Judge` of the image task."""
    return right.judge(answer)


def _levels(one: Image.Image, other: Image.Image) -> float:
    squares = [levels * levels for levels in ImageStat.Stat(ImageChops.difference(one, other)).rms]
    return math.sqrt(sum(squares) / len(squares))


def _cells(picture: Image.Image) -> Image.Image:
    return picture.resize((CELLS, CELLS), Image.Resampling.BOX)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
