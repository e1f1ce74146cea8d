"""What offloop makes of a picture looks like what Pillow and libvips make of it (how that is judged: image_helpers)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from image_helpers import (
    ADOBE_LIKE,
    P3_LIKE,
    SAME_KERNEL,
    SAME_PICTURE,
    SAME_PIXELS,
    SIMILAR_COLORS,
    Array,
    PIL_Image,
    assert_alike,
    assert_no_lossier,
    decoded,
    distance,
    encoded,
    made,
    natural,
    np,
    oriented,
    png_of_rows,
    with_alpha,
)
from image_references import (
    PILLOW_KERNELS,
    VIPS_KERNELS,
    by_area,
    by_pillow,
    by_vips,
    enlarged_by_vips,
    pyvips,
    scaled,
    thumbnail_by_vips,
    upright_srgb,
)

from offloop.image import Pipeline

FITS = ("cover", "contain", "inside", "outside", "fill")
KERNELS = ("nearest", "area", "linear", "cubic", "mitchell", "lanczos2", "lanczos3")
SIZE = (233, 177)
# Down by odd ratios, to an eighth and beyond (where JPEG is decoded at reduced size), up, one axis each way.
BOXES = ((100, 61), (29, 23), (11, 7), (320, 241), (60, 200))

needs_vips = pytest.mark.skipif(pyvips is None, reason="libvips (apt-get install libvips42) or pyvips is missing")


@functools.cache
def photo(seed: int = 1, width: int = SIZE[0], height: int = SIZE[1]) -> Array:
    return natural(width, height, seed)


@functools.cache
def pixels_of(kind: str) -> Array:
    return photo() if kind == "rgb" else with_alpha(photo())


@functools.cache
def png_of(kind: str) -> bytes:
    return encoded(pixels_of(kind), "png", compress_level=1)


def threshold_of(kind: str, box: tuple[int, int]) -> tuple[float, float]:
    return SAME_PIXELS if kind == "rgb" and min(box) * 8 > min(SIZE) else SAME_KERNEL


def resized(data: bytes, box: tuple[int, int], fit: str = "fill", kernel: str = "lanczos3", **output: object) -> Array:
    pipeline = Pipeline().auto_orient().resize(*box, fit=fit, kernel=kernel)  # type: ignore[arg-type]
    return decoded(made(data, pipeline.to(**output)).data)  # type: ignore[arg-type]


# --- the measure itself ---------------------------------------------------------------------------------------------


def test_the_measure_sees_what_an_eye_sees() -> None:
    rgb = photo()
    assert distance(rgb, rgb) == (0, 0)
    one_off = np.clip(rgb.astype(int) + np.random.default_rng(1).integers(-1, 2, rgb.shape), 0, 255)
    assert distance(rgb, one_off)[0] < SAME_KERNEL[0]
    half_a_pixel = (rgb[:, 1:].astype(float) + rgb[:, :-1]) / 2
    assert distance(rgb[:, 1:], half_a_pixel)[0] > SAME_PICTURE[0]
    brighter = np.clip(rgb.astype(int) + 8, 0, 255)
    assert distance(rgb, brighter)[0] > SAME_PICTURE[0]
    broken_rows = rgb.copy()
    broken_rows[50:54] = 0  # 2 % of the picture
    assert distance(rgb, broken_rows)[1] > SIMILAR_COLORS[1]
    halo = with_alpha(rgb)
    halo[..., :3] = np.where((halo[..., 3:] > 0) & (halo[..., 3:] < 255), (255, 0, 255), halo[..., :3])
    assert distance(with_alpha(rgb), halo)[1] > SAME_KERNEL[1]


# --- resampling alone: PNG to PNG -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rgb", "rgba"])
@pytest.mark.parametrize("box", BOXES, ids=str)
@pytest.mark.parametrize("kernel", PILLOW_KERNELS)
def test_a_kernel_is_pillows(kernel: str, box: tuple[int, int], kind: str) -> None:
    got = resized(png_of(kind), box, kernel=kernel)
    assert_alike(got, by_pillow(pixels_of(kind), box, kernel=kernel), threshold_of(kind, box))


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_area_is_the_mean_of_what_is_covered(box: tuple[int, int]) -> None:
    got = resized(png_of("rgb"), box, kernel="area")
    assert_alike(got, by_area(pixels_of("rgb"), box), threshold_of("rgb", box))


@pytest.mark.parametrize("count", [17, 33, 100, 233, 1001])
@pytest.mark.parametrize("across", [True, False])
def test_pixels_at_the_end_count_no_more_than_those_at_the_start(count: int, across: bool) -> None:
    """Where blocks are averaged before the kernel, the last block may have fewer pixels."""

    def weights(position: int) -> Array:
        line = np.zeros((1, count, 3), np.uint8)
        line[0, position] = 255
        pixels = line if across else line.transpose(1, 0, 2)
        few = max(1, count // 17)
        return resized(encoded(np.ascontiguousarray(pixels), "png"), (few, 1) if across else (1, few))[..., 0].ravel()

    first, last = weights(0).astype(int), weights(count - 1).astype(int)[::-1]
    assert abs(first[0] - last[0]) <= 4


@needs_vips
@pytest.mark.parametrize("kind", ["rgb", "rgba"])
@pytest.mark.parametrize("box", BOXES[:3], ids=str)  # enlarging it knows three kernels only
@pytest.mark.parametrize("kernel", VIPS_KERNELS)
def test_a_kernel_is_libvips(kernel: str, box: tuple[int, int], kind: str) -> None:
    got = resized(png_of(kind), box, kernel=kernel)
    assert_alike(got, by_vips(pixels_of(kind), box, kernel=kernel), SAME_KERNEL)


@needs_vips
@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_enlarging_is_libvips(kernel: str) -> None:
    got = resized(png_of("rgb"), (320, 241), kernel=kernel)
    assert_alike(got, enlarged_by_vips(pixels_of("rgb"), (320, 241), kernel), SAME_PIXELS)


@pytest.mark.parametrize("kind", ["rgb", "rgba"])
@pytest.mark.parametrize("box", BOXES[:3], ids=str)
@pytest.mark.parametrize("fit", FITS)
def test_a_fit_has_the_size_and_the_part_that_it_should(fit: str, box: tuple[int, int], kind: str) -> None:
    assert_alike(resized(png_of(kind), box, fit), by_pillow(pixels_of(kind), box, fit), threshold_of(kind, box))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2), (3, 5), (8, 8), (17, 16)], ids=str)
@pytest.mark.parametrize("box", [(1, 1), (5, 3), (16, 16), (2, 33)], ids=str)
def test_tiny_pictures(size: tuple[int, int], box: tuple[int, int]) -> None:
    pixels = natural(*size)
    for kernel in ("lanczos3", "linear", "cubic"):
        got = resized(encoded(pixels, "png"), box, kernel=kernel)
        assert_alike(got, by_pillow(pixels, box, kernel=kernel), SAME_PICTURE)  # few pixels: one off weighs more
    assert_alike(resized(encoded(pixels, "png"), box, kernel="area"), by_area(pixels, box), SAME_KERNEL)


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (4000, 2), (3, 2500)], ids=str)
@pytest.mark.parametrize("fit", FITS)
def test_extreme_ratios(size: tuple[int, int], fit: str) -> None:
    pixels = natural(*size)
    box = (2, 3) if fit == "outside" else (40, 30)
    got = resized(encoded(pixels, "png", compress_level=1), box, fit)
    assert_alike(got, by_pillow(pixels, box, fit), SAME_KERNEL)


# --- through lossy files --------------------------------------------------------------------------------------------


@functools.cache
def lossy_of(format: str) -> bytes:
    return encoded(photo(2, 931, 707), format)


@pytest.mark.parametrize("format", ["jpeg", "webp"])
@pytest.mark.parametrize("fit", FITS)
def test_lossy_in_and_out_at_the_same_quality(format: str, fit: str) -> None:
    pipeline = Pipeline().resize(200, 120, fit=fit).to(quality=80)  # type: ignore[arg-type]
    got = made(lossy_of(format), pipeline)
    wanted = by_pillow(decoded(lossy_of(format)), (200, 120), fit)
    assert_no_lossier(got.data, encoded(wanted, format, quality=80), wanted)


@pytest.mark.parametrize("width", [800, 620, 466, 465, 310, 233, 232, 120, 116, 60, 20])
@pytest.mark.parametrize("output", ["png", "jpeg"])
def test_a_jpeg_decoded_at_reduced_size_keeps_its_detail(width: int, output: str) -> None:
    data = lossy_of("jpeg")
    box = (width, round(707 * width / 931))
    wanted = by_pillow(decoded(data), box)
    if output == "png":
        assert_alike(resized(data, box, format="png"), wanted, SAME_PICTURE)
    else:
        got = made(data, Pipeline().resize(*box, fit="fill").to("jpeg", quality=80))
        assert_no_lossier(got.data, encoded(wanted, "jpeg", quality=80), wanted)


@needs_vips
@pytest.mark.parametrize("format", ["jpeg", "webp", "png"])
@pytest.mark.parametrize("width", [466, 200, 60])
def test_a_thumbnail_is_libvips(format: str, width: int) -> None:
    data = lossy_of("jpeg") if format == "jpeg" else encoded(photo(2, 931, 707), format)
    box = (width, round(707 * width / 931))
    assert_alike(resized(data, box, format="png"), thumbnail_by_vips(data, box), SAME_PICTURE)


# --- every kind of picture ------------------------------------------------------------------------------------------


def as_mode(mode: str, format: str, **options: object) -> bytes:
    """By Pillow, in another mode than RGB."""
    import io

    file = io.BytesIO()
    PIL_Image.fromarray(photo()).convert(mode).save(file, format, **options)
    return file.getvalue()


def grey_with_alpha() -> bytes:
    import io

    file = io.BytesIO()
    PIL_Image.fromarray(with_alpha(photo())).convert("LA").save(file, "png")
    return file.getvalue()


def palette_with_transparency() -> bytes:
    import io

    file = io.BytesIO()
    PIL_Image.fromarray(photo()).quantize(64).save(file, "png", transparency=5)
    return file.getvalue()


def wide(pixels: Array) -> Array:
    return pixels.astype(np.uint16) * 257


def grey() -> Array:
    return photo()[..., 1]


PICTURES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(photo(), "jpeg"),
    "jpeg 4:4:4": lambda: encoded(photo(), "jpeg", subsampling=0),
    "jpeg 4:2:2": lambda: encoded(photo(), "jpeg", subsampling=1),
    "progressive jpeg": lambda: encoded(photo(), "jpeg", progressive=True),
    "jpeg with restart markers": lambda: encoded(photo(), "jpeg", restart_marker_rows=1),
    "grey jpeg": lambda: as_mode("L", "jpeg", quality=92),
    "cmyk jpeg": lambda: as_mode("CMYK", "jpeg", quality=92),
    "jpeg of 1 pixel": lambda: encoded(natural(1, 1), "jpeg"),
    "jpeg of odd size": lambda: encoded(natural(17, 9), "jpeg"),
    "png": lambda: encoded(photo(), "png"),
    "png with alpha": lambda: encoded(with_alpha(photo()), "png"),
    "grey png": lambda: as_mode("L", "png"),
    "grey png with alpha": grey_with_alpha,
    "palette png": lambda: as_mode("P", "png"),
    "palette png with transparency": palette_with_transparency,
    "png of 1 bit": lambda: as_mode("1", "png"),
    "16-bit grey png": lambda: png_of_rows(wide(grey()), 16),
    "16-bit png": lambda: png_of_rows(wide(photo()), 16),
    "16-bit png with alpha": lambda: png_of_rows(wide(with_alpha(photo())), 16),
    "webp": lambda: encoded(photo(), "webp"),
    "lossless webp": lambda: encoded(photo(), "webp", lossless=True),
    "webp with alpha": lambda: encoded(with_alpha(photo()), "webp"),
    "jpeg in adobe's colours": lambda: encoded(photo(), "jpeg", icc_profile=ADOBE_LIKE),
    "jpeg in p3": lambda: encoded(photo(), "jpeg", icc_profile=P3_LIKE),
    "png in adobe's colours": lambda: encoded(photo(), "png", icc_profile=ADOBE_LIKE),
    "png with alpha in p3": lambda: encoded(with_alpha(photo()), "png", icc_profile=P3_LIKE),
    "webp in p3": lambda: encoded(photo(), "webp", icc_profile=P3_LIKE),
    **{
        f"{format} of orientation {turn}": functools.partial(oriented, photo(), turn, format)
        for format in ("jpeg", "png", "webp")
        for turn in range(1, 9)
    },
}
LOOSE = {"cmyk jpeg": SIMILAR_COLORS}


@functools.cache
def picture(name: str) -> bytes:
    return PICTURES[name]()


def half(pixels: Array) -> tuple[int, int]:
    return max(1, pixels.shape[1] * 9 // 20), max(1, pixels.shape[0] * 9 // 20)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_looks_as_pillow_shows_it(name: str) -> None:
    shown = upright_srgb(picture(name))
    for box in (half(shown), (shown.shape[1], shown.shape[0])):
        got = resized(picture(name), box, format="png")
        assert (got.shape[2] == 4) == (shown.shape[2] == 4)
        assert_alike(got, by_pillow(shown, box), LOOSE.get(name, SAME_PICTURE))


# What it knows nothing of or sees otherwise: no orientation in PNG and WebP before 8.15, CMYK by a profile of its own.
NOT_OF_VIPS = ("cmyk", "png of orientation", "1 bit")


@needs_vips
@pytest.mark.parametrize("name", [name for name in PICTURES if not any(words in name for words in NOT_OF_VIPS)])
def test_a_picture_looks_as_libvips_shows_it(name: str) -> None:
    box = half(upright_srgb(picture(name)))
    wanted = thumbnail_by_vips(picture(name), box)
    assert_alike(resized(picture(name), box, format="png"), wanted, SAME_PICTURE)


@pytest.mark.parametrize("output", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("name", ["png with alpha", "16-bit png with alpha", "palette png with transparency"])
def test_alpha_is_kept_or_laid_on_the_background(name: str, output: str) -> None:
    shown = upright_srgb(picture(name))
    pipeline = Pipeline().resize(*half(shown)).to(output, background=(10, 200, 30))
    got = made(picture(name), pipeline)
    wanted = by_pillow(shown, half(shown))
    if output == "jpeg":
        alpha = wanted[..., 3:] / 255
        wanted = np.rint(wanted[..., :3] * alpha + np.array((10, 200, 30)) * (1 - alpha)).astype(np.uint8)
    options = {} if output == "png" else {"quality": 80}
    assert_no_lossier(got.data, encoded(wanted, output, **options), wanted)


# --- everything with everything -------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_by_every_kernel_and_fit_to_every_size(name: str) -> None:
    shown = upright_srgb(picture(name))
    for kernel in PILLOW_KERNELS:  # the others: above
        for fit in FITS:
            for box in (*BOXES, (1, 1), (500, 20)):
                got = resized(picture(name), box, fit, kernel, format="png")
                # One pixel of a lossy picture that "nearest" picks has all of the coding's error.
                loose = kernel == "nearest" or min(box) == 1 or min(shown.shape[:2]) < 20
                threshold = SIMILAR_COLORS if loose else LOOSE.get(name, SAME_PICTURE)
                assert_alike(got, by_pillow(shown, box, fit, kernel), threshold)


def test_scaled_sizes_are_what_they_are_said_to_be() -> None:
    """The reference's own geometry, on cases counted by hand."""
    assert scaled((400, 300), (100, 100), "inside") == (100, 75)
    assert scaled((400, 300), (100, 100), "outside") == (133, 100)
    assert scaled((300, 400), (100, 100), "cover") == (100, 133)
    assert scaled((1, 3000), (40, 30), "contain") == (1, 30)
    assert scaled((3, 2), (7, 9), "fill") == (7, 9)
