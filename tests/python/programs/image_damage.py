"""Pictures cut short and with bytes flipped, one after another: each is a picture or an ImageError.

usage: image_damage.py FORMAT SEED CUTS FLIPS [ENGINE]. Prints how many were pictures, how many errors, and by how many
kB the process grew at its highest.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys

from image_helpers import ADOBE_LIKE, PIL_Image, encoded, natural, oriented, with_alpha

import offloop
from offloop import image


def whole(format: str) -> list[bytes]:
    """Sound pictures with what a format can hold: metadata, profile, alpha, progressive."""
    rgb = natural(67, 45)
    if format == "jpeg":
        turned = oriented(rgb, 6, icc_profile=ADOBE_LIKE)
        return [encoded(rgb, "jpeg"), encoded(rgb, "jpeg", progressive=True), turned, encoded(rgb[..., 0], "jpeg")]
    if format == "png":
        palette = bytes_of(PIL_Image.fromarray(rgb).quantize(16), "png")
        profiled = encoded(rgb, "png", icc_profile=ADOBE_LIKE)
        return [encoded(rgb, "png"), encoded(with_alpha(rgb), "png"), palette, profiled, oriented(rgb, 3, "png")]
    if format == "webp":
        lossless = encoded(with_alpha(rgb), "webp", lossless=True)
        return [encoded(rgb, "webp"), encoded(with_alpha(rgb), "webp"), lossless, oriented(rgb, 8, "webp")]
    return [bytes_of(PIL_Image.fromarray(rgb), format)]


def bytes_of(picture: PIL_Image.Image, format: str) -> bytes:
    import io

    file = io.BytesIO()
    picture.save(file, format)
    return file.getvalue()


def says_something(error: offloop.ImageError) -> bool:
    assert len(str(error)) > 10, repr(error)
    return True


def damaged(data: bytes, rng: random.Random, cuts: int, flips: int) -> list[bytes]:
    cut = [data[: rng.randrange(len(data))] for _ in range(cuts)]
    flipped = []
    for _ in range(flips):
        copy = bytearray(data)
        # Most of the harm is in headers: half of the flips are near the beginning.
        end = len(copy) if rng.random() < 0.5 else min(len(copy), 200)
        for _ in range(rng.choice((1, 1, 2, 8))):
            copy[rng.randrange(end)] = rng.randrange(256)
        flipped.append(bytes(copy))
    return cut + flipped


async def main(format: str, seed: int, cuts: int, flips: int, engine: str = "auto") -> None:
    rng = random.Random(seed)
    made = {
        strict: image.Pipeline(max_pixels=1_000_000, fail_on=strict, engine=engine).auto_orient().resize(20).to("jpeg")
        for strict in ("error", "none")
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pictures = errors = 0
    for data in whole(format):
        await made["error"].run(data)
        for broken in damaged(data, rng, cuts, flips):
            for pipeline in made.values():
                try:
                    picture = await pipeline.run(broken)
                except offloop.ImageError as error:
                    errors += says_something(error)
                else:
                    assert max(picture.width, picture.height) <= 1_000_000
                    pictures += 1
            try:
                await image.info(broken, max_pixels=1_000_000)
            except offloop.ImageError as error:
                says_something(error)
    print(pictures, errors, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:]))
