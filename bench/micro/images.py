"""Pictures resized through `await`, CPU time a picture: offloop, Pillow in threads, libvips by pyvips, sharp.

All keep both cores busy. sharp runs in a Node.js process of its own, one libvips thread a picture and as many pictures
at a time as there are cores; it takes part where OFFLOOP_SHARP names a folder with node_modules/sharp in it. Pillow is
shown at its plain resize and at `thumbnail`, which lets libjpeg decode smaller. Before the clock every contender's
pictures are compared with Pillow's plain resize.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import harness
import pictures
from harness import Loop, Report, Row, Spread
from PIL import Image

from offloop import image

CORES = len(os.sched_getaffinity(0))
# An encoder's own loss at quality 80 and the difference between resamplers; a wrong picture is beyond 20.
MOST_DIFFERENT = 9.0
SHARP_PROGRAM = Path(__file__).with_name("images_sharp.js")

Resize = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True)
class Case:
    name: str
    data: Sequence[bytes]
    width: int
    height: int | None
    kind: str
    count: int
    over_sharp: float  # the target: sharp's CPU time over ours
    why: str


def cases(quick: bool) -> list[Case]:
    few = 4 if quick else 1
    large, small = [pictures.large_jpeg()], pictures.small_jpegs(8 if quick else pictures.SMALL_COUNT)
    size = sum(map(len, small)) / len(small) / 1000
    return [
        Case(f"JPEG 2725x2225, {len(large[0]) / 1e6:.2f} MB, to JPEG 720x588", large, 720, 588, "jpeg", 80 // few,
             60 / 41, "60 against sharp's 41 a core and second"),
        Case(f"JPEG of 500 to 1400 px, {size:.0f} kB, to JPEG 256 px", small, 256, None, "jpeg", 512 // few,
             3.6 / 1.9, "1.9 ms against sharp's 3.6"),
        Case("PNG 2048x1536 with alpha to PNG 720 px", [pictures.rgba_png()], 720, None, "png", 24 // few,
             1.0, "no more than sharp"),
        Case("WebP 1024x772 to WebP 320 px", [pictures.webp()], 320, None, "webp", 80 // few,
             1.0, "no more than sharp"),
        Case("JPEG 2725x2225 to WebP 720x588", large, 720, 588, "webp", 24 // few, 1.0, "no more than sharp"),
    ]  # fmt: skip


def height_of(data: bytes, case: Case) -> int:
    if case.height is not None:
        return case.height
    width, height = Image.open(io.BytesIO(data)).size
    return max(1, round(height * case.width / width))


def save(picture: Image.Image, kind: str) -> bytes:
    options = {"jpeg": {"quality": 80}, "webp": {"quality": 80, "method": 4}, "png": {"compress_level": 6}}[kind]
    return pictures.encoded(picture, kind.upper(), **options)


def pillow_resize(data: bytes, case: Case) -> bytes:
    picture = Image.open(io.BytesIO(data))
    return save(picture.resize((case.width, height_of(data, case)), Image.Resampling.LANCZOS), case.kind)


def pillow_thumbnail(data: bytes, case: Case) -> bytes:
    picture = Image.open(io.BytesIO(data))
    size = (case.width, height_of(data, case))
    picture.draft(None, size)
    return save(picture.resize(size, Image.Resampling.LANCZOS), case.kind)


def vips_thumbnail(data: bytes, case: Case) -> bytes:
    import pyvips

    picture = pyvips.Image.thumbnail_buffer(data, case.width, height=height_of(data, case), size="force")
    options = {"jpeg": {"Q": 80, "strip": True}, "webp": {"Q": 80, "effort": 4, "strip": True},
               "png": {"compression": 6, "strip": True}}[case.kind]  # fmt: skip
    return bytes(picture.write_to_buffer({"jpeg": ".jpg", "webp": ".webp", "png": ".png"}[case.kind], **options))


def in_threads(work: Callable[[bytes, Case], bytes], case: Case, pool: ThreadPoolExecutor) -> Resize:
    def resize(data: bytes) -> Awaitable[bytes]:
        return asyncio.get_running_loop().run_in_executor(pool, work, data, case)

    return resize


def with_offloop(case: Case) -> Resize:
    # PNG: the filters are chosen row by row, which Pillow's and sharp's defaults leave out.
    pipeline = image.Pipeline().resize(case.width, case.height).to(case.kind, quality=80)

    async def resize(data: bytes) -> bytes:
        return (await pipeline.run(data)).data

    return resize


async def all_of(resize: Resize, data: Sequence[bytes], count: int) -> tuple[float, list[bytes]]:
    """CPU seconds a picture, and the first result of each input. At most two pictures a core are in flight."""
    waiting = asyncio.Semaphore(2 * CORES)
    answers: list[bytes] = [b""] * len(data)

    async def one(index: int) -> None:
        async with waiting:
            answer = await resize(data[index % len(data)])
        if index < len(data):
            answers[index] = answer

    before = time.process_time()
    async with asyncio.TaskGroup() as group:
        for index in range(count):
            group.create_task(one(index))
    return (time.process_time() - before) / count, answers


class Sharp:
    """sharp on the same inputs, in a process of its own that reports its CPU time."""

    def __init__(self) -> None:
        folder = os.environ.get("OFFLOOP_SHARP", "")
        there = folder and shutil.which("node") and Path(folder, "node_modules", "sharp").is_dir()
        self.folder = folder if there else ""

    def run(self, case: Case, folder: Path, count: int) -> tuple[float, list[bytes], str]:
        inputs = []
        for index, data in enumerate(case.data):
            (folder / f"in{index}").write_bytes(data)
            inputs.append([str(folder / f"in{index}"), case.width, height_of(data, case), str(folder / f"out{index}")])
        job = {"inputs": inputs, "count": count, "kind": case.kind, "cores": CORES}
        environment = dict(os.environ, NODE_PATH=str(Path(self.folder, "node_modules")), UV_THREADPOOL_SIZE=str(CORES))
        command = ["node", str(SHARP_PROGRAM)]
        done = subprocess.run(
            command, input=json.dumps(job), env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        answer = json.loads(done.stdout)
        results = [(folder / f"out{index}").read_bytes() for index in range(len(case.data))]
        return float(answer["seconds"]), results, str(answer["version"])


def measure(case: Case, loop: Loop, pool: ThreadPoolExecutor, sharp: Sharp, folder: Path, repeats: int) -> Row:
    reference = [pillow_resize(data, case) for data in case.data]

    async def timed(resize: Resize, count: int, check: bool) -> float:
        seconds, answers = await all_of(resize, case.data, count)
        if check:
            pictures.agree(answers, reference, MOST_DIFFERENT)
        return seconds

    def sharp_seconds(count: int, check: bool = False) -> float:
        seconds, answers, _ = sharp.run(case, folder, count)
        if check:
            pictures.agree(answers, reference, MOST_DIFFERENT)
        return seconds

    works = {
        "offloop": (with_offloop(case), case.count),
        "Pillow resize in threads": (in_threads(pillow_resize, case, pool), max(len(case.data), case.count // 4)),
    }
    if case.data[0][:2] == b"\xff\xd8":
        works["Pillow thumbnail in threads"] = (
            in_threads(pillow_thumbnail, case, pool), max(len(case.data), case.count // 4)
        )  # fmt: skip
    try:
        import pyvips

        pyvips.cache_set_max(0)
        works["libvips in threads"] = (in_threads(vips_thumbnail, case, pool), max(len(case.data), case.count // 4))
    except (ImportError, OSError):
        pass
    for resize, _ in works.values():
        loop.run(timed(resize, len(case.data), True))
    contenders = {
        name: loop.contender(lambda resize=resize, count=count: timed(resize, count, False))  # type: ignore[misc]
        for name, (resize, count) in works.items()
    }
    if sharp.folder:
        sharp_seconds(len(case.data), True)
        contenders["sharp"] = lambda: sharp_seconds(case.count)
    return harness.measure(f"{case.name}: CPU time a picture", "s", contenders, repeats)


def main() -> None:
    given = harness.arguments(__doc__, repeats=7)
    report = Report("images", given)
    sharp = Sharp()
    report.facts["contenders"] = {"Pillow": Image.__version__}
    with Loop() as loop, ThreadPoolExecutor(CORES) as pool, tempfile.TemporaryDirectory() as name:
        for case in cases(given.quick):
            row = measure(case, loop, pool, sharp, Path(name), given.repeats)
            rate = Spread.of([1 / seconds for seconds in row.rounds["offloop"]])
            row.notes.append(f"offloop makes {harness.shown(rate, '/s')} a core")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            row.notes.append(f"peak memory of the process so far, all contenders but sharp included: {peak:.0f} MB")
            if sharp.folder:
                row.demand("sharp / offloop", row.ratio("sharp", "offloop"), case.over_sharp, source=case.why)
            if case.name.startswith("JPEG of"):
                row.demand("Pillow resize in threads / offloop", row.ratio("Pillow resize in threads", "offloop"), 3.0)
            for other in row.values:
                if other not in ("offloop", "sharp") and not any(other in check.what for check in row.checks):
                    row.compare(other, "offloop")
            report.add(row)
        if sharp.folder:
            report.facts["contenders"]["sharp"] = sharp.run(cases(True)[0], Path(name), 1)[2]
    report.finish()


if __name__ == "__main__":
    main()
