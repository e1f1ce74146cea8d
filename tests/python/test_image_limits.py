"""Hostile and damaged pictures: a typed error or a picture, in bounded memory, never a crash."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import image_bombs as bombs
import pytest
from image_helpers import encoded, made, natural, vips_works

import offloop
from offloop import image

PROGRAMS = Path(__file__).parent / "programs"
MB = 1000_000
needs_vips = pytest.mark.usefixtures("vips")


@pytest.fixture(scope="module")
def vips() -> None:
    """Not asked when tests are collected: it loads libvips, which other tests should not find loaded."""
    if not vips_works():
        pytest.skip("libvips is not there")


def info(data: bytes, **limits: Any) -> image.ImageInfo:
    async def run() -> image.ImageInfo:
        return await image.info(data, **limits)

    return asyncio.run(run())


def thumbnail(data: bytes, **limits: Any) -> image.Picture:
    return made(data, image.Pipeline(**limits).auto_orient().resize(32).to("jpeg"))


# --- limits, each at its edge ---------------------------------------------------------------------------------------

ENCODED = {format: encoded(natural(40, 30), format) for format in ("jpeg", "png", "webp")}


@pytest.mark.parametrize("format", ENCODED)
def test_pixels(format: str) -> None:
    data = ENCODED[format]
    assert thumbnail(data, max_pixels=1200).input.width == 40
    assert info(data, max_pixels=1200).width == 40
    for call in (thumbnail, info):
        with pytest.raises(offloop.ImageLimitError, match="40x30 pixels, max_pixels allows 1199"):
            call(data, max_pixels=1199)


@pytest.mark.parametrize("format", ENCODED)
def test_bytes(format: str, tmp_path: Path) -> None:
    data = ENCODED[format]
    (tmp_path / "picture").write_bytes(data)
    for source in (data, tmp_path / "picture"):
        assert thumbnail(source, max_bytes=len(data)).input_size == len(data)  # type: ignore[arg-type]
        assert info(source, max_bytes=len(data)).width == 40  # type: ignore[arg-type]
        for call in (thumbnail, info):
            with pytest.raises(offloop.ImageLimitError, match=f"{len(data)} bytes, max_bytes allows {len(data) - 1}"):
                call(source, max_bytes=len(data) - 1)  # type: ignore[arg-type]


def test_scans() -> None:
    data = bombs.jpeg_of_scans(100)
    assert info(data).progressive
    assert info(data, max_scans=100).width == 16
    assert thumbnail(bombs.jpeg_of_scans(20), max_scans=20, fail_on="none").width == 32
    for call in (thumbnail, info):
        with pytest.raises(offloop.ImageLimitError, match=r"more scans than max_scans allows \(100\)"):
            call(bombs.jpeg_of_scans(101))
        with pytest.raises(offloop.ImageLimitError, match=r"max_scans allows \(19\)"):
            call(bombs.jpeg_of_scans(20), max_scans=19)


def test_a_thousand_scans_of_a_large_picture_end_before_they_begin() -> None:
    with pytest.raises(offloop.ImageLimitError):
        thumbnail(bombs.jpeg_of_scans(1000, 640, 480))


@needs_vips
def test_frames() -> None:
    every = image.Pipeline(frames="all", max_frames=10).to("gif")
    assert made(bombs.gif_of_frames(10), every).frames == 10
    with pytest.raises(offloop.ImageLimitError, match="max_frames allows 10"):
        made(bombs.gif_of_frames(11), every)
    first = made(bombs.gif_of_frames(11), image.Pipeline(max_frames=10).to("png"))
    assert (first.frames, first.input.frames) == (1, 11)


@needs_vips
def test_pixels_of_all_frames_count() -> None:
    data = bombs.gif_of_frames(10, side=100)
    assert made(data, image.Pipeline(frames="all", max_pixels=100_000).to("gif")).frames == 10
    with pytest.raises(offloop.ImageLimitError):
        made(data, image.Pipeline(frames="all", max_pixels=99_999).to("gif"))
    assert made(data, image.Pipeline(max_pixels=10_000).to("png")).width == 100


def test_ten_thousand_frames_cost_no_more_than_their_first(peaks_kb: dict[str, int]) -> None:
    data = bombs.webp_of_frames(300)
    assert info(data).frames == 300
    assert made(data, image.Pipeline().resize(4).to("png")).frames == 1
    if vips_works():
        assert peaks_kb[MANY_FRAMES] < 60_000


def test_the_result_is_limited_as_well() -> None:
    with pytest.raises(offloop.ImageLimitError, match="max_output_pixels allows 50000000"):
        made(ENCODED["png"], image.Pipeline().resize(10_001, 5000, fit="fill").to("png"))
    with pytest.raises(offloop.ImageLimitError):
        made(ENCODED["png"], image.Pipeline().resize(1_000_000, fit="inside").to("png"))
    with pytest.raises(offloop.ImageLimitError):
        made(encoded(natural(1, 3000), "png"), image.Pipeline().resize(1_000_000, 1_000_000, fit="cover").to("png"))


# --- dimensions that lie --------------------------------------------------------------------------------------------

HUGE = {
    "png": bombs.png_header(65535, 65535),
    "png of the most": bombs.png_header(0x7FFFFFFF, 0x7FFFFFFF),
    "png of 1 bit": bombs.png_header(65535, 65535, bits=1, color=0),
    "jpeg": bombs.jpeg_header(65500, 65500),
    "jpeg of the most": bombs.jpeg_header(65535, 65535),
    "gif": bombs.gif_header(65535, 65535),
    "webp canvas": bombs.webp_canvas(16383, 16383),
    "webp canvas of the most": bombs.webp_canvas(1 << 24, 1 << 24),
    "webp": bombs.webp_header(16383, 16383),
    "tiff": bombs.tiff_header(65535, 65535),
    "tiff of the most": bombs.tiff_header(0xFFFFFFFF, 0xFFFFFFFF),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_header_that_claims_too_much_is_refused_before_anything_is_decoded(name: str) -> None:
    for call in (thumbnail, info):
        with pytest.raises(offloop.ImageError) as caught:
            call(HUGE[name])
        if "of the most" not in name and "canvas" not in name and (name not in ("gif", "tiff") or vips_works()):
            assert isinstance(caught.value, offloop.ImageLimitError)


# Within the limit, and next to nothing behind it: 40 megapixels are not taken on the word of 100 bytes.
LIES = {
    "png": "bombs.png_header(8000, 5000)",
    "jpeg": "bombs.jpeg_header(8000, 5000)",
    "webp": "bombs.webp_header(8000, 5000)",
    "webp canvas": "bombs.webp_canvas(8000, 5000)",
    "gif": "bombs.gif_header(8000, 5000)",
}
SWELLING = {
    "png text": "bombs.png_text_bomb(1 << 30)",
    "png international text": "bombs.png_international_text_bomb(1 << 30)",
    "png profile": "bombs.png_profile_bomb(1 << 30)",
    "png pixels": "bombs.png_pixels_bomb(100, 1 << 30)",
    "png of a million chunks": "bombs.png_of_many_chunks(1_000_000)",
}
MANY_FRAMES = "bombs.gif_of_frames(10_000)"
PEAK = """
import asyncio, resource, sys
import image_bombs as bombs
import offloop
from offloop import image
from image_helpers import encoded, natural, made
for sound in (encoded(natural(640, 480), format) for format in ("jpeg", "png", "webp")):
    made(sound, image.Pipeline().resize(64).to("png"))
def status(name):
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith(name)).split()[1])
for expression in sys.argv[1:]:
    data = eval(expression)
    with open("/proc/self/clear_refs", "w") as file:  # the peak is counted from here
        file.write("5")
    before = status("VmRSS")
    for keep in (False, True):
        try:
            made(data, image.Pipeline().resize(64).to("png", keep_metadata=keep, keep_profile=keep))
        except offloop.ImageError:
            pass
    print(status("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def peaks_kb() -> dict[str, int]:
    """By how much a process grows while it makes thumbnails of each of these pictures, in kB."""
    expressions = [*LIES.values(), *SWELLING.values(), MANY_FRAMES]
    return dict(zip(expressions, map(int, program("-c", PEAK, *expressions).split()), strict=True))


def program(*arguments: str | Path) -> str:
    """A Python program that can import the helpers; it must end well."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", LIES)
def test_a_lie_within_the_limit_costs_no_more_than_the_pixels_that_it_claims(
    name: str, peaks_kb: dict[str, int]
) -> None:
    # libwebp and libvips take the whole picture's memory before they see that nothing is there: RGBA, and a copy.
    assert peaks_kb[LIES[name]] < (20_000 if name in ("png", "jpeg") else 250_000)


@pytest.mark.parametrize("name", SWELLING)
def test_what_swells_a_thousandfold_is_not_swollen(name: str, peaks_kb: dict[str, int]) -> None:
    assert peaks_kb[SWELLING[name]] < 40_000


# --- two things in one, and what is no picture ----------------------------------------------------------------------


@pytest.mark.parametrize("make", [bombs.jpeg_and_zip, bombs.png_and_html])
def test_a_picture_with_something_behind_it_is_that_picture_and_the_result_has_nothing_of_it(
    make: Callable[[], bytes],
) -> None:
    picture = made(make(), image.Pipeline().to(keep_metadata=True))
    assert (picture.width, picture.height) == (16, 16)
    assert b"<script" not in picture.data
    assert b"PK\3\4" not in picture.data


def test_a_gif_that_is_a_program_is_a_gif() -> None:
    assert image.detect(bombs.gif_and_javascript()) == "gif"
    try:
        picture = thumbnail(bombs.gif_and_javascript())
    except offloop.ImageError:
        return  # also good: no libvips, or it would not have it
    assert picture.format == "jpeg"


@pytest.mark.parametrize("name", bombs.UNTRUSTED)
@pytest.mark.parametrize("engine", ["auto", "fast", "vips"])
def test_other_formats_are_never_given_to_a_loader(name: str, engine: str) -> None:
    data = bombs.UNTRUSTED[name]
    assert image.detect(data) is None
    for padded in (data, data + bytes(5000)):
        with pytest.raises(offloop.UnsupportedFormatError, match="expected a picture"):
            thumbnail(padded, engine=engine)
        with pytest.raises(offloop.UnsupportedFormatError):
            info(padded)


def test_a_name_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bombs.UNTRUSTED["svg"])
    with pytest.raises(offloop.UnsupportedFormatError) as caught:
        thumbnail(tmp_path / "a.png")  # type: ignore[arg-type]
    assert caught.value.path == str(tmp_path / "a.png")


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif", "tiff"])
def test_damaged_pictures_are_errors_or_pictures(format: str) -> None:
    pictures, errors, grown_kb = map(int, program(PROGRAMS / "image_damage.py", format, "1", "20", "60").split())
    assert errors > 0
    assert pictures > 0 or format in ("gif", "tiff")
    assert grown_kb < 100_000


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif", "tiff"])
@pytest.mark.parametrize("seed", range(2, 8))
def test_many_damaged_pictures_are_errors_or_pictures(format: str, seed: int) -> None:
    for engine in ("auto", "vips") if vips_works() else ("auto",):
        words = program(PROGRAMS / "image_damage.py", format, str(seed), "200", "1500", engine).split()
        assert int(words[1]) > 0


@pytest.mark.parametrize("format", ENCODED)
def test_a_picture_cut_anywhere_is_an_error_unless_it_may_be_broken(format: str) -> None:
    data = ENCODED[format]
    for at in range(0, len(data) * 9 // 10, max(1, len(data) // 60)):
        with pytest.raises(offloop.ImageError):
            thumbnail(data[:at])
    best_of_it = thumbnail(data[: len(data) * 9 // 10], fail_on="none") if format != "webp" else None
    assert best_of_it is None or best_of_it.width == 32
