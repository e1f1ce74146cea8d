"""Pillow in a ThreadPoolExecutor with a thread for each core."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.hash.thread_pool import CORES
from offloop.bench.tasks.image import ImageWork
from offloop.bench.tasks.image.resizing import PLAIN, SCALED, pillow_resize, pillow_scaled


@contextlib.contextmanager
def in_pool(work: ImageWork, resize: Callable[[bytes, int], bytes], kind: str = "asyncio") -> Iterator[Running]:
    """`resize` of each picture by run_in_executor."""
    with ThreadPoolExecutor(CORES) as pool:

        async def one(data: bytes) -> bytes:
            return await asyncio.get_running_loop().run_in_executor(pool, resize, data, work.width)

        with on_loop(each(one, work.pictures, work.at_once), work.bursts, kind=kind) as running:
            yield running


def _plain(work: ImageWork) -> AbstractContextManager[Running]:
    return in_pool(work, pillow_resize)


def _scaled(work: ImageWork) -> AbstractContextManager[Running]:
    return in_pool(work, pillow_scaled)


CONTENDERS = [
    Contender("ThreadPoolExecutor, Pillow", "asyncio", f"{CORES} threads; {PLAIN}", _plain),
    Contender("ThreadPoolExecutor, Pillow scaled decode", "asyncio", f"{CORES} threads; {SCALED}", _scaled),
]
