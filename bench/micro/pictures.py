"""Pictures for the image benchmarks, made rather than stored: the same bytes from the same seed and library versions.

Photographs are imitated: noise in octaves with less power in the fine ones, discs with sharp edges, sensor noise. The
noise is set so that a JPEG has about as many bits a pixel as the photographs that sharp's and img2dataset's published
figures were made with (2.4 bits for the large one, 1.3 at 107 kB for the small ones).
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image

LARGE = (2725, 2225)  # sharp's benchmark picture
SMALL_COUNT = 64
SMALL_BYTES = 107_000


def photograph(width: int, height: int, seed: int, noise: float) -> Image.Image:
    """An RGB picture; `noise` is that of its sensor, 1 being about one level in ten."""
    source = np.random.default_rng(seed)
    out = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 9):
        cells = 2**octave + 1
        shape = (max(2, cells * height // max(width, height)), max(2, cells * width // max(width, height)), 3)
        grid = source.normal(0, 1, shape).astype(np.float32)
        if octave > 2:  # colour varies less than light
            grid = grid.mean(2, keepdims=True) * 0.8 + grid * 0.2
        layers = [Image.fromarray(grid[:, :, c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(3)]
        out += np.stack([np.asarray(layer) for layer in layers], 2) * 0.55**octave
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(30):
        x, y, radius = source.uniform(0, width), source.uniform(0, height), source.uniform(0.01, 0.12) * width
        out[(across - x) ** 2 + (down - y) ** 2 < radius * radius] += source.normal(0, 0.5, 3)
    out += source.normal(0, 1, (height, width, 1)).astype(np.float32) * noise * 0.04
    out = (out - out.mean()) / out.std() * 52 + 120
    return Image.fromarray(np.clip(out, 0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def large_jpeg() -> bytes:
    return encoded(photograph(*LARGE, 1, 1.2), "JPEG", quality=85)


def small_jpegs(count: int = SMALL_COUNT) -> list[bytes]:
    """JPEGs of 500 to 1400 pixels a side, each at the quality that brings it nearest to SMALL_BYTES."""
    source = random.Random(2)
    return [_near(photograph(source.randint(500, 1400), source.randint(500, 1400), 100 + i, 1.2)) for i in range(count)]


def _near(picture: Image.Image) -> bytes:
    best = b""
    for quality in range(55, 96, 4):
        data = encoded(picture, "JPEG", quality=quality)
        if not best or abs(len(data) - SMALL_BYTES) < abs(len(best) - SMALL_BYTES):
            best = data
    return best


def rgba_png() -> bytes:
    """2048x1536, as sharp's, with an alpha that fades."""
    picture = np.asarray(photograph(2048, 1536, 3, 0.35).convert("RGBA")).copy()
    down, across = np.mgrid[0:1536, 0:2048] - 700
    picture[..., 3] = np.clip(np.hypot(down, across) * 0.3, 0, 255)
    return encoded(Image.fromarray(picture), "PNG")


def webp() -> bytes:
    return encoded(photograph(1024, 772, 4, 0.8), "WEBP", quality=80)


def distance(data: bytes, reference: bytes) -> float:
    """Root of the mean squared difference of two pictures, in levels; transparent pixels count for what they show."""
    a, b = (np.asarray(_shown(Image.open(io.BytesIO(each))), float) for each in (data, reference))
    if a.shape != b.shape:
        raise AssertionError(f"a picture of {a.shape}, expected {b.shape}")
    return float(np.sqrt(((a - b) ** 2).mean()))


def _shown(picture: Image.Image) -> Image.Image:
    if "A" not in picture.getbands():
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def agree(answers: Sequence[bytes], reference: Sequence[bytes], most: float) -> None:
    """Raise AssertionError unless every picture is within `most` levels of the reference."""
    for answer, right in zip(answers, reference, strict=True):
        measured = distance(answer, right)
        if measured > most:
            raise AssertionError(f"a picture is {measured:.2f} levels from the reference, expected at most {most}")
