"""offloop, one await a picture."""

from __future__ import annotations

from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.image import ImageWork
from offloop.bench.tasks.image.resizing import QUALITY, offloop_image


def _asyncio(work: ImageWork, kind: str = "asyncio") -> AbstractContextManager[Running]:
    pipeline = offloop_image().Pipeline().resize(work.width).to("jpeg", quality=QUALITY, keep_profile=True)

    async def one(data: bytes) -> bytes:
        resized: bytes = (await pipeline.run(data)).data
        return resized

    return on_loop(each(one, work.pictures, work.at_once), work.bursts, kind=kind)


def _uvloop(work: ImageWork) -> AbstractContextManager[Running]:
    return _asyncio(work, "uvloop")


_SETTINGS = "await of one Pipeline: resize (Lanczos), to JPEG; a worker for each CPU, defaults throughout"
CONTENDERS = [
    Contender("offloop, await each", "hybrid", _SETTINGS, _asyncio, classic=True),
    Contender("uvloop, offloop, await each", "hybrid", _SETTINGS, _uvloop),
]
