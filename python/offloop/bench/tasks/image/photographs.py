"""Photographs to resize, made rather than stored: the same bytes from the same seed and version of Pillow.

They are imitated: noise in octaves with less power in the fine ones, discs with sharp edges, noise of a sensor: so much
of it that the large JPEG has about 1 MB, and the small ones about 107 kB, as the pictures of published figures.
"""

from __future__ import annotations

import io
import random

from PIL import Image, ImageChops, ImageDraw, ImageOps

_OCTAVES = range(8, 0, -1)  # the finest first
_PERSISTENCE = 0.55  # the power of an octave over that of the next coarser one
_COLOURFUL = 2  # octaves; in finer ones colour varies less than light
_DISCS = 30
_SENSOR_LEVELS = 8  # at most, above and below


def photograph(width: int, height: int, seed: int, quality: int = 85) -> bytes:
    """One as JPEG of that quality."""
    source = random.Random(seed)
    picture = _clouds(width, height, source)
    _draw_discs(picture, source)
    grain = Image.frombytes("L", (width, height), source.randbytes(width * height))
    grain = grain.point([128 + round((value - 128) * _SENSOR_LEVELS / 128) for value in range(256)])
    picture = ImageChops.add(picture, Image.merge("RGB", [grain] * 3), 1, -128)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _clouds(width: int, height: int, source: random.Random) -> Image.Image:
    picture, weights = Image.new("RGB", (width, height)), 0.0
    for octave in _OCTAVES:
        cells = 2**octave + 1
        across, down = (max(2, cells * side // max(width, height)) for side in (width, height))
        grid = Image.frombytes("RGB", (across, down), source.randbytes(across * down * 3))
        if octave > _COLOURFUL:
            grid = Image.blend(grid, grid.convert("L").convert("RGB"), 0.8)
        layer = grid.resize((width, height), Image.Resampling.BICUBIC)
        weight = _PERSISTENCE**octave
        weights += weight
        picture = Image.blend(picture, layer, weight / weights)
    return ImageOps.autocontrast(picture, cutoff=1)


def _draw_discs(picture: Image.Image, source: random.Random) -> None:
    draw = ImageDraw.Draw(picture, "RGBA")
    for _ in range(_DISCS):
        x, y = source.uniform(0, picture.width), source.uniform(0, picture.height)
        radius = source.uniform(0.01, 0.12) * picture.width
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), (*source.randbytes(3), 128))
