"""Pillow on the loop's thread: the loop stands still for as long as each picture takes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.image import ImageWork
from offloop.bench.tasks.image.resizing import PLAIN, SCALED, pillow_resize, pillow_scaled


def inline(
    work: ImageWork, resize: Callable[[bytes, int], bytes], kind: str = "asyncio"
) -> AbstractContextManager[Running]:
    """`resize` in the task, no thread."""

    async def one(data: bytes) -> bytes:
        return resize(data, work.width)

    return on_loop(each(one, work.pictures, work.at_once), work.bursts, kind=kind)


def _plain(work: ImageWork) -> AbstractContextManager[Running]:
    return inline(work, pillow_resize)


def _scaled(work: ImageWork) -> AbstractContextManager[Running]:
    return inline(work, pillow_scaled)


CONTENDERS = [
    Contender("asyncio, Pillow inline", "asyncio", f"in the task, no thread; {PLAIN}", _plain, classic=True),
    Contender("asyncio, Pillow scaled decode, inline", "asyncio", f"in the task, no thread; {SCALED}", _scaled),
]
