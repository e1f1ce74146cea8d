"""offloop.image as an interface: what it refuses, returns, cancels, saves, fetches, and leaves behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fetch_helpers import abandoned, in_progress, quiet
from image_helpers import assert_alike, decoded, encoded, natural, np, oriented, png_of_rows, with_alpha
from picture_server import PictureServer

import offloop
from offloop import image
from offloop.testing import Origin

PHOTO = encoded(natural(160, 120), "jpeg")
THUMBNAIL = image.Pipeline().auto_orient().resize(40, 40, fit="inside").to("jpeg", quality=80)

# One decode, resize and encode of it takes well over a second: time enough to be cancelled in.
LARGE_SIDES = (8000, 6000)


@pytest.fixture(scope="module", params=["jpeg", "png"])
def large(request: pytest.FixtureRequest) -> bytes:
    """48 megapixels, by repetition."""
    width, height = LARGE_SIDES
    pixels = np.tile(natural(200, 200), (height // 200, width // 200, 1))
    return encoded(pixels, "jpeg") if request.param == "jpeg" else png_of_rows(pixels, 8)


@pytest.fixture
def own_budget() -> Iterator[None]:
    before = image.stats()["max_pixels_in_flight"]
    yield
    image.configure(max_pixels_in_flight=before)


async def until(condition: Any, seconds: float = 30) -> None:
    """Waits for what nothing tells of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def pixels_in_flight() -> int:
    return image.stats()["pixels_in_flight"]


# --- arguments ------------------------------------------------------------------------------------------------------

PIPELINE = image.Pipeline()
WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: PIPELINE.resize(), ValueError, "expected a width, a height or both, got neither"),
    (lambda: PIPELINE.resize(0), ValueError, "width must be greater than 0, got 0"),
    (lambda: PIPELINE.resize(10, -1), ValueError, "height must be greater than 0, got -1"),
    (lambda: PIPELINE.resize(1_000_001), ValueError, "width must be between 1 and 1000000, got 1000001"),
    (lambda: PIPELINE.resize(1.5), TypeError, "width must be an int, not float"),
    (lambda: PIPELINE.resize(True), TypeError, "width must be an int, not bool"),
    (lambda: PIPELINE.resize(1, fit="crop"), ValueError, "fit must be one of 'cover', .* got 'crop'"),
    (lambda: PIPELINE.resize(1, fit=None), ValueError, "fit must be one of .* got None"),
    (lambda: PIPELINE.resize(1, kernel="bell"), ValueError, "kernel must be one of 'nearest', .* got 'bell'"),
    (lambda: PIPELINE.resize(1, position="right_top"), ValueError, "position must be one of .*'right top'"),
    (lambda: PIPELINE.resize(1, without_enlargement=1), TypeError, "without_enlargement must be a bool, not int"),
    (lambda: PIPELINE.crop(0, 0, 0, 5), ValueError, "width must be greater than 0, got 0"),
    (lambda: PIPELINE.crop(-1, 0, 5, 5), ValueError, "left must be between 0 and 1000000, got -1"),
    (lambda: PIPELINE.rotate(45), ValueError, "degrees must be 0, 90, 180 or 270, got 45"),
    (lambda: PIPELINE.to("bmp"), ValueError, "format must be one of 'jpeg', .* got 'bmp'"),
    (lambda: PIPELINE.to(b"png"), ValueError, "format must be one of .* got b'png'"),
    (lambda: PIPELINE.to(quality=0), ValueError, "quality must be greater than 0, got 0"),
    (lambda: PIPELINE.to(quality=101), ValueError, "quality must be between 1 and 100, got 101"),
    (lambda: PIPELINE.to(compression=10), ValueError, "compression must be between 0 and 9, got 10"),
    (lambda: PIPELINE.to(effort=7), ValueError, "effort must be between 0 and 6, got 7"),
    (lambda: PIPELINE.to(subsampling="4:1:1"), ValueError, "subsampling must be one of '4:2:0', '4:4:4', got '4:1:1'"),
    (lambda: PIPELINE.to(background=(1, 2)), ValueError, r"background must be \(red, green, blue\)"),
    (lambda: PIPELINE.to(background=(1, 2, 256)), ValueError, "background must be between 0 and 255, got 256"),
    (lambda: image.Pipeline(max_pixels=0), ValueError, "max_pixels must be greater than 0, got 0"),
    (lambda: image.Pipeline(max_scans=2**31), ValueError, "max_scans must be between 1 and"),
    (lambda: image.Pipeline(frames="some"), ValueError, "frames must be one of 'first', 'all', got 'some'"),
    (lambda: image.Pipeline(fail_on="warning"), ValueError, "fail_on must be one of 'error', 'none', got 'warning'"),
    (lambda: image.Pipeline(engine="sharp"), ValueError, "engine must be one of .* got 'sharp'"),
    (lambda: image.Pipeline(isolate=None), TypeError, "isolate must be a bool, not NoneType"),
    (lambda: image.configure(max_pixels_in_flight=0), ValueError, "max_pixels_in_flight must be greater than 0, got 0"),
    (lambda: image.sheet([]), ValueError, "expected at least one path, got none"),
    (lambda: image.sheet("a.png"), TypeError, "paths must be an iterable of paths, not str"),
    (lambda: image.sheet(["a"], cell=0), ValueError, "cell must be greater than 0, got 0"),
]
WRONG_STARTS: list[tuple[Any, type[Exception], str]] = [
    (lambda: image.info(7), TypeError, "bytes-like object.*int"),
    (lambda: image.info([1, 2]), TypeError, "bytes-like object.*list"),
    (lambda: image.resize(None, 5), TypeError, "bytes-like object.*NoneType"),
    (lambda: image.resize(PHOTO), ValueError, "expected a width, a height or both, got neither"),
    (lambda: image.resize(PHOTO, 5, quality=500), ValueError, "quality must be between 1 and 100, got 500"),
    (lambda: image.resize(PHOTO, 5, timeout=0), ValueError, "timeout must be greater than 0 seconds, got 0"),
    (lambda: THUMBNAIL.run(PHOTO, timeout="1"), TypeError, "timeout must be a number of seconds, not str"),
    (lambda: THUMBNAIL.run(PHOTO, hash=1), TypeError, "hash must be a bool, not int"),
    (lambda: THUMBNAIL.run(PHOTO, save=5), TypeError, "save must be a path, not int"),
    (lambda: THUMBNAIL.run("a\0b"), ValueError, "source contains a null character"),
    (lambda: THUMBNAIL.run("http://"), offloop.InvalidURLError, "Fetch failed for http://"),
    (lambda: THUMBNAIL.run(memoryview(PHOTO)[::2]), (BufferError, ValueError), "contiguous"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("call", "error", "words"), WRONG, ids=[words for _, _, words in WRONG])
def test_a_wrong_argument_is_refused_and_the_message_says_what_was_expected(
    call: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.loops("asyncio")
async def test_nothing_is_queued_for_a_wrong_argument() -> None:
    before = offloop.stats()
    for call, error, words in WRONG_STARTS:
        with pytest.raises(error, match=words):
            call()
    after = offloop.stats()
    assert (after["in_flight"], after["parked"]) == (before["in_flight"], before["parked"])
    assert after["done"] + after["failed"] == before["done"] + before["failed"]


# --- results --------------------------------------------------------------------------------------------------------


async def test_resize_gives_bytes_and_run_a_picture() -> None:
    data = await image.resize(PHOTO, 40)
    assert type(data) is bytes
    assert decoded(data).shape == (30, 40, 3)
    picture = await THUMBNAIL.run(PHOTO)
    assert picture.data == data
    assert picture.data is picture.data
    assert (picture.format, picture.width, picture.height, picture.size) == ("jpeg", 40, 30, len(data))
    assert (picture.frames, picture.input_size, picture.sha256, picture.input_sha256) == (1, len(PHOTO), None, None)
    assert (picture.input.format, picture.input.width, picture.input.height) == ("jpeg", 160, 120)
    assert repr(picture) == f"<offloop.image.Picture jpeg 40x30, {len(data)} bytes>"


async def test_info_reads_headers() -> None:
    turned = await image.info(oriented(natural(30, 20), 6))
    assert (turned.width, turned.height, turned.upright_width, turned.upright_height) == (30, 20, 20, 30)
    assert (turned.orientation, turned.channels, turned.bits, turned.color_space) == (6, 3, 8, "srgb")
    assert not turned.has_alpha
    clear = await image.info(encoded(with_alpha(natural(30, 20)), "png"))
    assert (clear.format, clear.has_alpha, clear.channels, clear.frames) == ("png", True, 4, 1)
    assert (await image.info(encoded(natural(9, 9), "jpeg", progressive=True))).progressive
    assert (await image.info(encoded(natural(9, 9)[..., 0], "jpeg"))).color_space == "grey"
    assert repr(turned) == "<offloop.image.ImageInfo jpeg 30x20>"


@pytest.mark.parametrize(
    "take",
    [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)],
    ids=["bytes", "array", "view", "np"],
)
async def test_any_buffer_is_taken_and_let_go(take: Any) -> None:
    data = take(PHOTO)
    assert (await image.info(data)).width == 160
    assert len(await image.resize(data, 8)) > 100
    with pytest.raises(offloop.ImageError):
        await image.resize(take(PHOTO[:300]), 8)
    if isinstance(data, bytearray):
        data.append(0)  # BufferError while somebody holds it
    if isinstance(data, memoryview):
        data.release()


async def test_a_buffer_is_held_while_it_is_worked_on_and_free_after_a_cancel(large: bytes) -> None:
    data = bytearray(large)
    operation = image.resize(data, 100)
    await until(pixels_in_flight)
    with pytest.raises(BufferError):
        data.append(0)
    operation.cancel()

    def free() -> bool:
        try:
            data.append(0)
        except BufferError:
            return False
        return True

    await until(free)


@pytest.mark.loops("asyncio")
async def test_a_pipeline_is_not_changed_by_its_methods_and_serves_many() -> None:
    plain = image.Pipeline()
    small = plain.resize(20)
    smaller = small.resize(10)
    grey = small.greyscale().to("png")
    assert (await plain.to("png").run(PHOTO)).width == 160
    results = await asyncio.gather(*(pipeline.run(PHOTO) for pipeline in (small, smaller, grey) * 10))
    assert [picture.width for picture in results] == [20, 10, 20] * 10
    assert decoded(results[2].data).std(axis=2).max() == 0
    assert decoded(results[0].data).std(axis=2).max() > 0


@pytest.mark.loops("asyncio")
async def test_steps_are_done_in_the_order_they_are_named() -> None:
    pixels = natural(60, 40)
    data = encoded(pixels, "png")

    async def shape(pipeline: image.Pipeline) -> Any:
        return decoded((await pipeline.to("png").run(data)).data)

    turned = image.Pipeline().rotate(90)
    assert np.array_equal(await shape(turned), np.rot90(pixels, -1))
    assert np.array_equal(await shape(turned.crop(0, 0, 10, 20)), np.rot90(pixels, -1)[:20, :10])
    assert np.array_equal(await shape(image.Pipeline().crop(5, 6, 10, 20).rotate(180)), pixels[6:26, 5:15][::-1, ::-1])
    assert np.array_equal(await shape(image.Pipeline().flip()), pixels[::-1])
    assert np.array_equal(await shape(image.Pipeline().flop()), pixels[:, ::-1])
    assert (await shape(image.Pipeline().resize(30).crop(0, 0, 30, 20))).shape == (20, 30, 3)
    assert (await shape(image.Pipeline().resize(30, 30, fit="contain").resize(10).rotate(270))).shape == (10, 10, 3)
    twice = await shape(image.Pipeline().resize(120).resize(60))
    assert_alike(twice, pixels, (2, 10))


@pytest.mark.loops("asyncio")
async def test_a_crop_outside_of_the_picture_is_told_from_the_operation() -> None:
    operation = image.Pipeline().resize(40).crop(30, 0, 11, 5).run(PHOTO)
    with pytest.raises(ValueError, match=r"crop must be within the picture, which is 40x30 there, got left=30"):
        await operation


@pytest.mark.loops("asyncio")
async def test_metadata_goes_unless_it_is_kept() -> None:
    data = oriented(natural(30, 20), 6)
    assert b"Exif" not in (await image.Pipeline().to().run(data)).data
    kept = await image.Pipeline().auto_orient().to(keep_metadata=True).run(data)
    assert b"Exif" in kept.data
    assert (await image.info(kept.data)).orientation == 1  # it has been applied
    assert (kept.width, kept.height) == (20, 30)
    unturned = await image.Pipeline().to(keep_metadata=True).run(data)
    assert (await image.info(unturned.data)).orientation == 6


@pytest.mark.loops("asyncio")
async def test_formats_are_what_was_asked_for() -> None:
    clear = encoded(with_alpha(natural(40, 30)), "png")
    for wanted, said in (("jpeg", "jpeg"), ("JPG", "jpeg"), ("png", "png"), ("webp", "webp"), (None, "png")):
        picture = await image.Pipeline().to(wanted).run(clear)
        assert (picture.format, image.detect(picture.data)) == (said, said)
    assert decoded((await image.Pipeline().to("webp").run(clear)).data).shape[2] == 4
    assert decoded((await image.Pipeline().to("webp", flatten=True).run(clear)).data).shape[2] == 3
    exact = await image.Pipeline().to("webp", lossless=True).run(encoded(natural(40, 30), "png"))
    assert np.array_equal(decoded(exact.data), natural(40, 30))


# --- digests and files ----------------------------------------------------------------------------------------------


async def test_digests_are_of_what_came_in_and_what_went_out(tmp_path: Path) -> None:
    picture = await THUMBNAIL.run(PHOTO, hash=True)
    assert picture.input_sha256 == hashlib.sha256(PHOTO).hexdigest()
    assert picture.sha256 == hashlib.sha256(picture.data).hexdigest()
    (tmp_path / "in.jpg").write_bytes(PHOTO)
    saved = await THUMBNAIL.run(tmp_path / "in.jpg", hash=True, save=tmp_path / "out.jpg")
    assert saved.sha256 == picture.sha256 == hashlib.sha256((tmp_path / "out.jpg").read_bytes()).hexdigest()
    assert (saved.input_sha256, saved.data, saved.size) == (picture.input_sha256, b"", picture.size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jpg", "out.jpg"]


@pytest.mark.loops("asyncio")
async def test_a_path_may_be_of_any_kind(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9 \xff.jpg"
    with open(odd, "wb") as file:
        file.write(PHOTO)
    (tmp_path / "link").symlink_to(os.fsdecode(odd))
    for path in (os.fsdecode(odd), tmp_path / "link", str(tmp_path / "link")):
        assert (await image.info(path)).width == 160
        assert (await THUMBNAIL.run(path)).width == 40


@pytest.mark.loops("asyncio")
async def test_what_is_no_file_is_an_oserror_with_its_path(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "closed").write_bytes(PHOTO)
    (tmp_path / "text").write_text("hello")
    cases: list[tuple[str, type[OSError]]] = [
        ("missing", FileNotFoundError),
        ("pipe", OSError),
        (".", IsADirectoryError),
    ]
    for name, error in cases:
        for operation in (THUMBNAIL.run(tmp_path / name), image.info(tmp_path / name)):
            with pytest.raises(error) as caught:
                await operation
            assert caught.value.filename == str(tmp_path / name)
    with pytest.raises(offloop.UnsupportedFormatError) as unsupported:
        await THUMBNAIL.run(tmp_path / "text")
    assert unsupported.value.path == str(tmp_path / "text")
    with pytest.raises(OSError) as device:
        await THUMBNAIL.run("/dev/zero")
    assert device.value.filename == "/dev/zero"


@pytest.mark.loops("asyncio")
async def test_a_result_that_cannot_be_saved_is_an_oserror_with_its_path(tmp_path: Path) -> None:
    for target, error in ((tmp_path / "nowhere" / "a.jpg", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error):
            await THUMBNAIL.run(PHOTO, save=target)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(offloop.ImageError):
        await THUMBNAIL.run(PHOTO[:1000], save=tmp_path / "never.jpg")
    assert list(tmp_path.iterdir()) == []


# --- URLs -----------------------------------------------------------------------------------------------------------


async def test_a_url_is_fetched_and_its_body_stays_in_the_core(tmp_path: Path) -> None:
    with PictureServer({"/photo": PHOTO}) as server:
        picture = await THUMBNAIL.run(server.url("/photo"), hash=True, save=tmp_path / "a.jpg")
        assert picture.input_sha256 == hashlib.sha256(PHOTO).hexdigest()
        assert picture.input_size == len(PHOTO)
        assert len(await image.resize(server.url("/photo"), 20)) > 100
        async with offloop.Fetcher(max_concurrent=2) as fetcher:
            assert (await THUMBNAIL.run(server.url("/photo"), fetcher=fetcher)).width == 40
            assert fetcher.stats()["done"] == 1


@pytest.mark.loops("asyncio")
async def test_a_url_that_fails_is_the_fetchers_error(origin: Origin) -> None:
    with pytest.raises(offloop.HTTPStatusError) as missing:
        await THUMBNAIL.run(origin.url("/status/404"))
    assert (missing.value.status, missing.value.url) == (404, origin.url("/status/404"))
    with pytest.raises(offloop.ConnectError):
        await THUMBNAIL.run("http://127.0.0.1:1/a.png")
    with pytest.raises(offloop.UnsupportedFormatError):
        await THUMBNAIL.run(origin.url("/bytes/1000"))
    with pytest.raises((offloop.BodyTooLargeError, offloop.ImageLimitError)):
        await image.Pipeline(max_bytes=1000).run(origin.url("/bytes/1001"))
    with pytest.raises(offloop.UnsupportedFormatError):
        await image.Pipeline(max_bytes=1000).run(origin.url("/bytes/1000"))
    assert (await image.Pipeline().resize(8).run(origin.url("/image.png"))).input.format == "png"


@pytest.mark.loops("asyncio")
async def test_the_timeout_of_a_url_is_for_fetching_too(origin: Origin) -> None:
    with pytest.raises(TimeoutError) as caught:
        await THUMBNAIL.run(origin.url("/slow?seconds=600"), timeout=0.2)
    assert isinstance(caught.value, (offloop.FetchTimeoutError, offloop.OperationTimeoutError))


@pytest.mark.loops("asyncio")
async def test_a_cancelled_transfer_is_closed(origin: Origin) -> None:
    quiet(origin)
    operation = THUMBNAIL.run(origin.url("/slow?seconds=600"))
    await in_progress(origin, 1)
    assert operation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await operation
    await abandoned(origin, 1)


# --- cancelling, deadlines, budget ----------------------------------------------------------------------------------


async def test_a_cancel_ends_the_await_at_once_and_the_work_soon(large: bytes) -> None:
    task = asyncio.ensure_future(image.resize(large, 3000, format="png"))
    await until(pixels_in_flight)
    assert pixels_in_flight() == LARGE_SIDES[0] * LARGE_SIDES[1]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: pixels_in_flight() == 0)
    assert (await THUMBNAIL.run(PHOTO)).width == 40


@pytest.mark.loops("asyncio")
async def test_what_is_queued_never_runs_when_it_is_cancelled(large: bytes) -> None:
    threads = offloop.configure()["threads"]
    running = [image.resize(large, 3000, format="png") for _ in range(threads)]
    await until(
        lambda: pixels_in_flight() == threads * LARGE_SIDES[0] * LARGE_SIDES[1] or offloop.stats()["queued"] == 0
    )
    data = bytearray(PHOTO)
    queued = THUMBNAIL.run(data)
    assert queued.cancel()
    for operation in running:
        operation.cancel()
    await until(lambda: pixels_in_flight() == 0)
    with pytest.raises(asyncio.CancelledError):
        await queued
    data.append(0)


async def test_a_deadline_that_passes_is_an_operation_timeout(large: bytes) -> None:
    with pytest.raises(offloop.OperationTimeoutError) as caught:
        await image.resize(large, 3000, format="png", timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.retryable
    await until(lambda: pixels_in_flight() == 0)
    assert (await THUMBNAIL.run(PHOTO, timeout=60)).width == 40
    assert (await THUMBNAIL.run(PHOTO, timeout=float("inf"))).width == 40


@pytest.mark.loops("asyncio")
async def test_asyncios_own_timeout_works(large: bytes) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await image.resize(large, 3000, format="png")
    await until(lambda: pixels_in_flight() == 0)


@pytest.mark.loops("asyncio")
async def test_pixels_in_flight_are_bounded(large: bytes, own_budget: None) -> None:
    one = LARGE_SIDES[0] * LARGE_SIDES[1]
    image.configure(max_pixels_in_flight=one)
    assert image.stats()["max_pixels_in_flight"] == one
    operations = [image.resize(large, 200) for _ in range(3)]
    most = 0
    while not all(operation.done() for operation in operations):
        most = max(most, pixels_in_flight())
        await asyncio.sleep(0.001)
    assert all(len(operation.result()) > 100 for operation in operations)
    assert most == one
    image.configure(max_pixels_in_flight=1)  # one alone always runs
    assert (await THUMBNAIL.run(PHOTO)).width == 40


@pytest.mark.loops("asyncio")
async def test_one_that_waits_for_pixels_can_be_cancelled_and_times_out(large: bytes, own_budget: None) -> None:
    image.configure(max_pixels_in_flight=1)
    first = image.resize(large, 3000, format="png")
    await until(pixels_in_flight)
    waits = image.resize(PHOTO, 8)
    late = image.resize(PHOTO, 8, timeout=0.01)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    with pytest.raises(offloop.OperationTimeoutError):
        await late
    first.cancel()
    await until(lambda: pixels_in_flight() == 0)


async def test_a_failing_picture_cancels_its_task_group(large: bytes) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(image.resize(large, 3000, format="png"))
            group.create_task(image.resize(PHOTO[:500], 8))
    assert [type(error) for error in caught.value.exceptions] == [offloop.ImageError]
    assert slow.cancelled()
    await until(lambda: pixels_in_flight() == 0)


async def test_many_at_once_are_each_their_own() -> None:
    pictures = [encoded(natural(20 + i, 30, i), "png") for i in range(20)]
    results = await asyncio.gather(*(image.Pipeline().to("png").run(picture) for picture in pictures * 3))
    for i, picture in enumerate(results):
        assert np.array_equal(decoded(picture.data), natural(20 + i % 20, 30, i % 20))


def test_an_operation_made_without_a_loop_runs_in_the_one_that_awaits_it() -> None:
    assert len(asyncio.run(image.resize(PHOTO, 8))) > 100
    assert asyncio.run(image.info(PHOTO)).width == 160


@pytest.mark.loops("asyncio")
async def test_a_sheet_can_be_made_and_cancelled(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        path.write_bytes(encoded(natural(30, 20, i), "png"))
    page = await image.sheet(paths, cell=30, columns=2)
    pixels = decoded(page.data)
    assert (page.width, page.height, page.format) == (72, 106, "png")
    assert np.array_equal(pixels[9:29, 4:34], natural(30, 20, 0))
    assert np.array_equal(pixels[9:29, 38:68], natural(30, 20, 1))
    assert (pixels[72:, 38:] == 255).all()
    with pytest.raises(offloop.ImageLimitError, match="the sheet would have"):
        await image.sheet(paths, cell=10_000)
    with pytest.raises(FileNotFoundError):
        await image.sheet([tmp_path / "missing"])
    many = image.sheet(paths * 2000, cell=1)
    many.cancel()
    with pytest.raises(asyncio.CancelledError):
        await many


# --- the process ----------------------------------------------------------------------------------------------------


def program(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_forked_child_makes_pictures_and_so_does_its_parent(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    code = """
import asyncio, os, sys, warnings
from offloop import image

warnings.simplefilter("ignore")  # of forking with threads: that is what this is about

async def both():
    operations = [image.resize("a.jpg", 20) for _ in range(8)]
    return {len(await operation) for operation in operations}

before = asyncio.run(both())
child = os.fork()
if child == 0:
    os._exit(0 if asyncio.run(both()) == before and image.stats()["pixels_in_flight"] == 0 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert asyncio.run(both()) == before
"""
    program(f"import os; os.chdir({str(tmp_path)!r})\n{code}")


WALL = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name == "offloop._image":
            raise ImportError("libjpeg.so.62: cannot open shared object file")
sys.meta_path.insert(0, Wall())
"""


def test_without_image_libraries_everything_else_works_and_the_first_call_says_what_to_install() -> None:
    code = f"""{WALL}
import asyncio, offloop, offloop.fetch, offloop.hashing
assert len(asyncio.run(offloop.sha256(b"a"))) == 64
for _ in range(2):
    try:
        offloop.image.resize(b"", 5)
    except offloop.UnsupportedFormatError as error:
        assert isinstance(error.__cause__, ImportError)
        print(error)
assert len(asyncio.run(offloop.sha256(b"a"))) == 64
"""
    first, second = program(code).splitlines()
    assert first == second
    assert re.search(r"apt-get install .*libjpeg62-turbo.*libjpeg\.so\.62: cannot open", first)


def test_importing_offloop_loads_no_image_library() -> None:
    code = """
import asyncio, offloop, offloop.fetch, sys
asyncio.run(offloop.sha256(bytes(1_000_000)))
def loaded():
    with open("/proc/self/maps") as maps:
        text = maps.read()
    names = ("libjpeg", "libpng", "libwebp", "liblcms", "libvips", "libglib", "_image")
    return [name for name in names if name in text]
assert loaded() == [], loaded()
assert "offloop.image" not in sys.modules
offloop.image
assert "libjpeg" in loaded() and "libvips" not in loaded() and "libglib" not in loaded(), loaded()
"""
    program(code)
