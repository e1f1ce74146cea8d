"""Pillow by asyncio.to_thread: it releases the GIL while it decodes, resamples and encodes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.image import ImageWork
from offloop.bench.tasks.image.resizing import PLAIN, SCALED, pillow_resize, pillow_scaled


def _in_thread(work: ImageWork, resize: Callable[[bytes, int], bytes]) -> AbstractContextManager[Running]:
    async def one(data: bytes) -> bytes:
        return await asyncio.to_thread(resize, data, work.width)

    return on_loop(each(one, work.pictures, work.at_once), work.bursts)


def _plain(work: ImageWork) -> AbstractContextManager[Running]:
    return _in_thread(work, pillow_resize)


def _scaled(work: ImageWork) -> AbstractContextManager[Running]:
    return _in_thread(work, pillow_scaled)


_THREADS = f"the loop's own pool, {min(32, (os.cpu_count() or 1) + 4)} threads"
CONTENDERS = [
    Contender("asyncio.to_thread, Pillow", "asyncio", f"{_THREADS}; {PLAIN}", _plain),
    Contender("asyncio.to_thread, Pillow scaled decode", "asyncio", f"{_THREADS}; {SCALED}", _scaled),
]
