"""Pillow in a ProcessPoolExecutor: no GIL to fight for; pictures and results go through pipes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from offloop.bench.model import Contender, Running
from offloop.bench.on_loop import each, on_loop
from offloop.bench.tasks.hash.process_pool import process_pool
from offloop.bench.tasks.hash.thread_pool import CORES
from offloop.bench.tasks.image import ImageWork
from offloop.bench.tasks.image.resizing import SCALED, pillow_scaled


@contextlib.contextmanager
def _open(work: ImageWork) -> Iterator[Running]:
    with process_pool() as (pool, pids):

        async def one(data: bytes) -> bytes:
            return await asyncio.get_running_loop().run_in_executor(pool, pillow_scaled, data, work.width)

        with on_loop(each(one, work.pictures, work.at_once), work.bursts, helpers=pids) as running:
            yield running


CONTENDERS = [
    Contender(
        "ProcessPoolExecutor, Pillow scaled decode",
        "asyncio",
        f"{CORES} processes by the fork server, started before; {SCALED}",
        _open,
    )
]
