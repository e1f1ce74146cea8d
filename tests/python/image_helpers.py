"""Pictures for tests, made by numpy and Pillow, and how far two pictures are apart to the eye."""

from __future__ import annotations

import asyncio
import functools
import io
import struct
import zlib
from typing import Any

import pytest

from offloop import image

# Where an interpreter is too new to have them, the tests of pictures are skipped.
np = pytest.importorskip("numpy")
PIL_Image = pytest.importorskip("PIL.Image")
PIL_Cms = pytest.importorskip("PIL.ImageCms")

Array = Any  # numpy.ndarray

# ---- pictures ------------------------------------------------------------------------------------------------------


def natural(width: int, height: int, seed: int = 1) -> Array:
    """Height x width x RGB, 8 bit, as photographs are: detail falls off with frequency, and there are hard edges."""
    random = np.random.default_rng(seed)
    side_y, side_x = max(height, 8), max(width, 8)
    frequency = np.hypot(np.fft.fftfreq(side_y)[:, None], np.fft.fftfreq(side_x)[None, :])
    frequency[0, 0] = 1 / max(side_x, side_y)
    planes = []
    for _ in range(3):
        spectrum = np.fft.fft2(random.standard_normal((side_y, side_x))) / frequency**1.5
        plane = np.fft.ifft2(spectrum).real
        planes.append((plane - plane.mean()) / (plane.std() + 1e-9))
    luma, first, second = planes  # colours vary less than brightness
    rgb = np.stack([luma + 0.2 * first, luma - 0.1 * first - 0.1 * second, luma + 0.25 * second], axis=-1)
    rgb = 120 + 45 * rgb
    y, x = np.mgrid[0:side_y, 0:side_x]
    for color in random.integers(20, 235, (4, 3)):
        center = random.random(2) * (side_y, side_x)
        radius = (0.08 + 0.2 * random.random()) * min(side_y, side_x)
        rgb[np.hypot(y - center[0], x - center[1]) < radius] = color
    return np.clip(np.rint(rgb[:height, :width]), 0, 255).astype(np.uint8)


def with_alpha(rgb: Array) -> Array:
    """The same with an edge of transparency: a disc, soft outside, with loud colours where nothing shows."""
    height, width = rgb.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    radius = 0.4 * min(height, width)
    inside = radius - np.hypot(y - height / 2, x - width / 2)
    alpha = np.clip(128 + inside * 32, 0, 255).astype(np.uint8)
    loud = rgb.copy()
    loud[alpha == 0] = (255, 0, 255)  # leaks into the edge when alpha is not premultiplied
    return np.dstack([loud, alpha])


def encoded(pixels: Array, format: str, **options: Any) -> bytes:
    """By Pillow: its own options; JPEG and WebP at quality 92 unless told otherwise."""
    file = io.BytesIO()
    if format in ("jpeg", "webp"):
        options = {"quality": 92, **options}
    PIL_Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def oriented(pixels: Array, orientation: int, format: str = "jpeg", **options: Any) -> bytes:
    """A picture that says in its EXIF how it is to be turned."""
    exif = PIL_Image.Exif()
    exif[0x0112] = orientation
    return encoded(pixels, format, exif=exif.tobytes(), **options)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_of_rows(pixels: Array, bits: int) -> bytes:
    """A PNG of 8 or 16 bits a channel: grey, RGB or RGBA by its shape.

    Pillow writes no colour of 16 bits, and is slow for large ones: rows are not filtered here.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = pixels.astype(f">u{bits // 8}").reshape(height, width * channels)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    return (
        PNG_SIGNATURE + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(raw, 1)) + png_chunk(b"IEND", b"")
    )


def rgb_profile(primaries: list[tuple[float, float]], gamma: float) -> bytes:
    """An ICC profile (version 2, matrix and gamma) of a colour space with these xy primaries and the white of D65."""
    white = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    to_xyz = columns * np.linalg.solve(columns, white)
    d50 = np.array([0.9642, 1.0, 0.8249])
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    adapt = np.linalg.inv(bradford) @ np.diag((bradford @ d50) / (bradford @ white)) @ bradford
    to_xyz = adapt @ to_xyz

    def xyz(values: Array) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"test colours\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": xyz(d50),
        **{b"rgb"[i : i + 1] + b"XYZ": xyz(to_xyz[:, i]) for i in range(3)},
        **{b"rgb"[i : i + 1] + b"TRC": curve for i in range(3)},
    }
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for kind, body in tags.items():
        table += kind + struct.pack(">II", start + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    kinds = (b"mntr", b"RGB ", b"XYZ ", b"acsp")
    header = struct.pack(">I4sI4s4s4s12x4s", start + len(data), b"test", 0x02100000, *kinds)
    header = header.ljust(68, b"\0") + xyz(d50)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


ADOBE_LIKE = rgb_profile([(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)], 2.19921875)
P3_LIKE = rgb_profile([(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)], 2.2)

# ---- what the core makes -------------------------------------------------------------------------------------------


def made(data: bytes, pipeline: image.Pipeline) -> image.Picture:
    """One picture through a pipeline, on a loop of its own."""

    async def run() -> image.Picture:
        return await pipeline.run(data)

    return asyncio.run(run())


def decoded(data: bytes) -> Array:
    """The pixels of an encoded picture, by Pillow: RGB, or RGBA where it has alpha."""
    with PIL_Image.open(io.BytesIO(data)) as opened:
        opened.load()
        if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
            return np.asarray(opened.convert("RGBA"))
        return np.asarray(opened.convert("RGB"))


@functools.cache
def vips_works() -> bool:
    """Whether the core finds libvips."""
    try:
        made(encoded(natural(8, 8), "png"), image.Pipeline(engine="vips").to("png"))
    except image.UnsupportedFormatError:
        return False
    return True


# ---- how far apart -------------------------------------------------------------------------------------------------
#
# CIE Lab is made so that the same distance looks the same everywhere: Euclidean there (CIE76), 1 is about what an eye
# can tell side by side, 2.3 what it notices. It judges brightness and colour in one figure, which SSIM (luma only) does
# not, and pixel by pixel: a shift of half a pixel, which a blurred measure does not see, shows. The mean is looked at,
# and the 99th percentile, so that a broken edge or row is not averaged away.

# Resampling alone, from the same pixels: rounding of weights and samples.
SAME_PIXELS = (0.4, 2.0)
# Kernels that implementations round differently: libvips has positions of 1/64 of a pixel, Pillow premultiplies alpha
# in 8 bits, offloop averages blocks before the kernel where more than 8 pixels become one.
SAME_KERNEL = (0.9, 5.5)
# Two decoders of one lossy file, or a decode at reduced size.
SAME_PICTURE = (1.2, 8.0)
# The way to colours without a profile is everybody's own (CMYK).
SIMILAR_COLORS = (4.0, 14.0)


def to_lab(rgb: Array) -> Array:
    """CIE Lab of sRGB from 0 to 255, D65."""
    value = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def distance(a: Array, b: Array) -> tuple[float, float]:
    """Mean and 99th percentile of the difference in Lab. With alpha: on black and on white, whichever is worse."""
    assert a.shape[:2] == b.shape[:2], f"{a.shape} and {b.shape}"
    if 4 in (a.shape[2], b.shape[2]):
        on = [distance(laid_on(a, ground), laid_on(b, ground)) for ground in (0, 255)]
        return max(mean for mean, _ in on), max(worst for _, worst in on)
    difference = np.linalg.norm(to_lab(a) - to_lab(b), axis=-1)
    return float(difference.mean()), float(np.percentile(difference, 99))


def laid_on(pixels: Array, ground: int) -> Array:
    """Pixels on a ground, where they have alpha."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float64) / 255
    return pixels[..., :3] * alpha + ground * (1 - alpha)


def assert_alike(got: Array, wanted: Array, threshold: tuple[float, float]) -> None:
    """Fail with the figures when two pictures are further apart than `threshold`, mean and 99th percentile."""
    mean, worst = distance(got, wanted)
    assert mean <= threshold[0], f"mean {mean:.2f}, at most {threshold[0]} expected (99th percentile {worst:.2f})"
    assert worst <= threshold[1], f"99th percentile {worst:.2f}, at most {threshold[1]} expected (mean {mean:.2f})"


def assert_no_lossier(got: bytes, wanted: bytes, ideal: Array) -> None:
    """Fail when an encoded picture is further from what it should show than another encoder's at the same quality.

    Two encoders lose different things: what they made may differ by more than either does from the ideal.
    """
    (mean, worst), (other_mean, other_worst) = distance(decoded(got), ideal), distance(decoded(wanted), ideal)
    assert mean <= 1.1 * other_mean + SAME_KERNEL[0], f"mean {mean:.2f}, the other's {other_mean:.2f}"
    assert worst <= 1.1 * other_worst + SAME_KERNEL[1], f"99th percentile {worst:.2f}, the other's {other_worst:.2f}"
    assert len(got) <= 1.15 * len(wanted) + 200, f"{len(got)} bytes, the other's {len(wanted)}"
