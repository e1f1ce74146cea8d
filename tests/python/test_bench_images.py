"""The image tasks of `offloop bench`: every contender's pictures are judged, and wrong ones are found."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offloop.bench import open_loop
from offloop.bench.document import CaseDict
from offloop.bench.machine import Noise
from offloop.bench.model import Case, Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.runner import CaseRun, Effort
from offloop.bench.tasks import fetch_image, image
from offloop.bench.tasks.fetch_image import Fetched
from offloop.bench.tasks.image import resizing
from offloop.testing import Origin

Image = pytest.importorskip("PIL.Image")
ImageChops = pytest.importorskip("PIL.ImageChops")
ImageOps = pytest.importorskip("PIL.ImageOps")

from offloop.bench.tasks.image.photographs import photograph  # noqa: E402
from offloop.bench.tasks.image.reference import Reference  # noqa: E402

WIDTH = 64
ONCE = Effort(warm_ups=1, repeats=1, probes=1, seed=1)


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [photograph(301, 200, 1), photograph(160, 233, 2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pictures: list[bytes]) -> Path:
    """The pictures as files, beside one that is no JPEG."""
    found = tmp_path_factory.mktemp("photos")
    for index, data in enumerate(pictures):
        (found / f"{index}.jpg").write_bytes(data)
    (found / "notes.txt").write_text("none")
    return found


def measured(case: Case, effort: Effort = ONCE) -> CaseDict:
    run = CaseRun(case, effort, Noise())
    run.run()
    return run.document()


def case_of(case: Case, *contenders: Contender) -> Case:
    return replace(case, contenders=contenders)


def contender(one: Callable[[bytes], Any], name: str = "it") -> Contender:
    """What `one` makes of each picture, on a loop."""

    async def answer(data: bytes) -> Any:
        await asyncio.sleep(0)
        return one(data)

    def open_(work: image.ImageWork) -> AbstractContextManager[Running]:
        return on_loop(each(answer, work.pictures), work.bursts)

    return Contender(name, "asyncio", "for a test", open_)


def saved(picture: Any, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def right(data: bytes) -> Any:
    """The right picture, decoded again."""
    return Image.open(io.BytesIO(resizing.pillow_resize(data, WIDTH)))


def all_are_right(found: CaseDict) -> None:
    """Nobody fails or is wrong; who is missing lacks a package of others."""
    for row in found["contenders"]:
        assert row["status"] in ("ok", "missing"), row
        if row["status"] == "missing":
            assert any(name in row["detail"] for name in ("uvloop", "aiohttp", "pyvips")), row
    assert {row["variant"] for row in found["contenders"] if row["status"] == "ok"} >= {"hybrid", "native"}


# ---- every contender -------------------------------------------------------------------------------------------------


def test_every_contender_resizes_the_users_own_pictures_right(folder: Path) -> None:
    case = image.folder(folder, None)
    assert (case.name, case.items) == (f"2 JPEG of {folder.name} to 256 px", 2)
    found = measured(case)
    all_are_right(found)
    assert len(found["speedups"]) == 3
    assert all(row["gb_per_second"] and row["latency"] for row in found["contenders"] if row["status"] == "ok")


@pytest.mark.parametrize("nginx", [True, False])
def test_every_contender_fetches_resizes_and_hashes_right(
    nginx: bool, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nginx:
        monkeypatch.setattr(fetch_image, "find_nginx", lambda: None)
    monkeypatch.setattr(fetch_image, "small_photographs", lambda count, seed: pictures)
    (case,) = measured_each(fetch_image.table(quick=True, seed=1, at_once=4))
    assert ("from nginx" if nginx and fetch_image.find_nginx() else "from the embedded origin") in case["name"]
    assert case["items"] == 64
    all_are_right(case)


def measured_each(cases: Iterator[Case]) -> list[CaseDict]:
    return [measured(case) for case in cases]


def test_the_users_own_urls_are_fetched_resized_and_hashed(folder: Path, tmp_path: Path) -> None:
    with Origin(root=folder) as origin:
        (tmp_path / "urls").write_text("".join(f"{origin.url(f'/files/{index}.jpg')}\n" for index in range(2)))
        case = fetch_image.listed(tmp_path / "urls", 2)
        assert (case.name, case.items) == ("2 URLs of urls to 256 px", 2)
        found = measured(case)
        all_are_right(found)
        (tmp_path / "urls").write_text(origin.url("/bytes/100"))
        with pytest.raises(ValueError, match="/bytes/100: cannot identify"):
            fetch_image.listed(tmp_path / "urls", 2)


# ---- the judge -------------------------------------------------------------------------------------------------------


def blank_half(picture: Any) -> Any:
    half = picture.copy()
    half.paste((128, 128, 128), (0, picture.height // 2, picture.width, picture.height))
    return half


def without_a_corner(picture: Any) -> Any:
    rest = picture.copy()
    rest.paste((0, 255, 0), (0, 0, picture.width // 8, picture.height // 8))
    return rest


def grainy(picture: Any) -> Any:
    """Every other pixel is brighter, the ones between darker: nothing is off on average, anywhere."""
    board = Image.new("RGB", picture.size, (90, 90, 90))
    for x in range(picture.width):
        for y in range(x % 2, picture.height, 2):
            board.putpixel((x, y), (166, 166, 166))
    return ImageChops.add(picture, board, 1, -128)


WRONG: dict[str, tuple[Callable[[bytes], Any], str]] = {
    "one pixel less": (lambda data: resizing.pillow_resize(data, WIDTH - 1), "pixels, expected 64x"),
    "left is right": (lambda data: saved(ImageOps.mirror(right(data))), "levels"),
    "upside down": (lambda data: saved(ImageOps.flip(right(data))), "levels"),
    "another one": (lambda data: saved(right(photograph(300, 220, 9)).resize(right(data).size)), "levels"),
    "half of it": (lambda data: saved(blank_half(right(data))), "levels"),
    "without a corner": (lambda data: saved(without_a_corner(right(data))), "levels off in one part"),
    "grainy": (lambda data: saved(grainy(right(data)), quality=95), "levels from the right picture"),
    "grey": (lambda data: saved(right(data).convert("L")), "levels"),
    "red is blue": (lambda data: saved(Image.merge("RGB", right(data).split()[::-1])), "levels"),
    "brighter": (lambda data: saved(right(data).point(lambda level: min(255, level + 24))), "levels"),
    "PNG": (lambda data: saved(right(data), "PNG"), "is PNG, expected JPEG"),
    "as it was": (lambda data: data, "pixels, expected 64x"),
    "cut off": (lambda data: resizing.pillow_resize(data, WIDTH)[:-200], "cannot be decoded: "),
    "nothing": (lambda data: b"", "cannot be decoded: "),
    "words": (lambda data: "no memory", "is no picture: 'no memory'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_picture_is_found(name: str, pictures: list[bytes]) -> None:
    wrong, words = WRONG[name]
    case = image._case("x", pictures, WIDTH, 1, None)
    contenders = contender(wrong), contender(lambda data: resizing.pillow_resize(data, WIDTH), "right")
    told = {row["name"]: row for row in measured(case_of(case, *contenders))["contenders"]}
    assert (told["it"]["status"], told["it"]["time"], told["right"]["status"]) == ("wrong", None, "ok")
    assert told["it"]["detail"].startswith("answer 0 ")
    assert words in told["it"]["detail"]


@pytest.mark.parametrize("quality", [70, 95])
def test_another_encoder_and_resampler_are_right(quality: int, pictures: list[bytes]) -> None:
    for data in pictures:
        reference = Reference(data, WIDTH)
        with Image.open(io.BytesIO(data)) as picture:
            size = right(data).size
            for resampler in (Image.Resampling.BICUBIC, Image.Resampling.BOX):
                assert reference.judge(saved(picture.resize(size, resampler), quality=quality)) is None


def test_a_picture_that_goes_wrong_after_the_check_is_found(pictures: list[bytes]) -> None:
    seen = 0

    def later(data: bytes) -> bytes:
        nonlocal seen
        seen += 1
        good = resizing.pillow_resize(data, WIDTH)
        return good if seen <= 4 else saved(ImageOps.mirror(right(data)))

    case = case_of(image._case("x", pictures, WIDTH, 1, None), contender(later))
    assert measured(case, replace(ONCE, warm_ups=2))["contenders"][0]["status"] == "wrong"
    assert seen == 6


def test_what_is_known_to_be_right_is_not_decoded_again(pictures: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    reference, answer = Reference(pictures[0], WIDTH), resizing.pillow_resize(pictures[0], WIDTH)
    assert reference.judge(answer) is None
    monkeypatch.setattr(Reference, "_problem", lambda self, answer: "was decoded")
    assert reference.judge(bytes(bytearray(answer))) is None
    assert reference.judge(answer + b"\0") == "was decoded"


def test_both_digests_are_judged(pictures: list[bytes]) -> None:
    data = pictures[0]
    (expected,) = fetch_image._case("x", fetch_image.FetchWork(["u"], 1, 1, {}), [data]).expected
    good = fetch_image.answered(data, resizing.pillow_resize(data, 256))
    assert fetch_image.judge(good, expected) is None
    for _ in range(2):  # also when the picture is known
        assert "is of a body with SHA-256 0" in str(fetch_image.judge(good._replace(body_sha256="0"), expected))
        assert ", not 0" in str(fetch_image.judge(good._replace(sha256="0"), expected))
    flipped = saved(ImageOps.flip(Image.open(io.BytesIO(good.data))))
    assert "levels" in str(fetch_image.judge(fetch_image.answered(data, flipped), expected))
    assert fetch_image.judge("HTTP status 404", expected) == "is no picture: 'HTTP status 404'"
    assert isinstance(good, Fetched)


# ---- the open loop ---------------------------------------------------------------------------------------------------


def test_in_the_open_loop_wrong_pictures_are_wrong_from_the_start(pictures: list[bytes]) -> None:
    rows: list[dict[str, Any]] = []
    case = case_of(
        image._case("x", pictures, WIDTH, 1, None),
        contender(WRONG["upside down"][0], "flips"),
        contender(lambda data: resizing.pillow_scaled(data, WIDTH), "right"),
    )
    open_loop.measure(
        case, [200], seconds=0.1, arrivals="constant", seed=1, say=lambda words: None, keep=rows.append
    )  # fmt: skip
    told = {row["contender"]: row for row in rows}
    assert (told["flips"]["status"], told["flips"]["offered"], told["flips"]["latency"]) == ("wrong", 0, None)
    assert "levels" in told["flips"]["detail"]
    assert (told["right"]["status"], told["right"]["offered"], told["right"]["latency"]["items"]) == ("ok", 19, 19)


# ---- the pictures ----------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_photographs_and_another_one_others() -> None:
    assert photograph(90, 60, 5) == photograph(90, 60, 5) != photograph(90, 60, 6)
    first = [Image.open(io.BytesIO(data)).size for data in image.small_photographs(3, 1)]
    assert first == [Image.open(io.BytesIO(data)).size for data in image.small_photographs(3, 1)]
    assert len(set(first)) == 3


def test_photographs_have_about_as_many_bits_a_pixel_as_real_ones() -> None:
    for width, height in ((950, 900), (1400, 500)):
        bits = len(photograph(width, height, 3)) * 8 / (width * height)
        assert 0.8 < bits < 2.5


def test_heights_follow_from_the_ratio_halves_rounded_up() -> None:
    sizes = [((2725, 2225), 720), ((512, 101), 256), ((512, 99), 256), ((1000, 1), 256)]
    assert [resizing.height_of(size, width) for size, width in sizes] == [588, 51, 50, 1]


# ---- what is missing -------------------------------------------------------------------------------------------------


def test_without_pillow_both_tasks_are_gaps(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    for task, cases in (("image", image.table), ("fetch_image", fetch_image.table)):
        (case,) = measured_each(cases(quick=True, seed=1, at_once=None))
        assert case["task"] == task
        assert {(row["status"], row["detail"]) for row in case["contenders"]} == {("missing", image.NO_PILLOW)}
        assert {row["variant"] for row in case["contenders"]} == {"asyncio", "hybrid", "native"}
    with pytest.raises(ValueError, match="Pillow"):
        image.folder(folder, None)


@pytest.mark.parametrize(
    ("raised", "words"),
    [(ImportError("x"), "pyvips is not installed"), (OSError("libvips.so"), "pyvips finds no libvips")],
)
def test_without_pyvips_or_libvips_it_is_a_gap(
    raised: Exception, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    real = builtins.__import__

    def importing(name: str, *rest: Any) -> Any:
        if name == "pyvips":
            raise raised
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)
    case = image.folder(folder, None)
    vips = [one for one in case.contenders if "pyvips" in one.name]
    (row,) = measured(case_of(case, *vips))["contenders"]
    assert row["status"] == "missing"
    assert row["detail"].startswith(words)


def test_pictures_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected JPEG files in it, found none"):
        image.folder(tmp_path, None)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    with pytest.raises(ValueError, match=r"broken\.jpg: "):
        image.folder(tmp_path, None)
    (tmp_path / "broken.jpg").write_bytes(saved(Image.new("CMYK", (20, 20))))
    with pytest.raises(ValueError, match=r"broken\.jpg: expected greyscale or RGB, got CMYK"):
        image.folder(tmp_path, None)
